//! App 1 of the tutorial "Get started with module identity and module twin": creates the device `myFirstDevice` and
//! its module `myFirstModule`, or finds them if they exist already, and prints the connection string of each.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use iothub_client::service::{Device, Module, ServiceClient};
use iothub_client::{Error, ErrorKind, IdentityId, ServiceConnectionString, TrustedRoots};

/// Creates a device and a module in an IoT hub and prints their connection strings.
///
/// Identities that exist already are left as they are, so it can be run again.
#[derive(Debug, Parser)]
#[command(name = "create-identities", version)]
struct Arguments {
    /// Name of the device.
    #[arg(default_value = "myFirstDevice")]
    device: String,

    /// Name of the module on it.
    #[arg(default_value = "myFirstModule")]
    module: String,

    /// Connection string of a shared access policy that may write the registry, such as iothubowner.
    #[arg(long, env = "IOTHUB_CONNECTION_STRING", hide_env_values = true)]
    // As text, because clap would repeat a faulty one in its error, key and all.
    connection_string: String,

    /// PEM file with a root certificate to trust beside the system's.
    #[arg(long, env = "IOTHUB_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,

    /// HTTPS port of the hub.
    #[arg(long, default_value_t = 443)]
    port: u16,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<(), Error> {
    let mut roots = TrustedRoots::system();
    if let Some(file) = &arguments.ca_file {
        roots = roots.and_pem_file(file)?;
    }
    let connection_string = ServiceConnectionString::parse(&arguments.connection_string)?;
    let host_name = connection_string.host_name().to_owned();
    let hub = ServiceClient::builder(connection_string).port(arguments.port).trusted_roots(roots).build()?;

    let id = IdentityId::of_device(arguments.device.as_str())?;
    let device = match hub.create_device(&Device::new(&id)).await {
        Ok(device) => {
            println!("Created device {id}");
            device
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            println!("Device {id} exists already");
            hub.device(&id).await?
        }
        Err(error) => return Err(error),
    };
    println!("Device connection string = {}", device.connection_string(&host_name)?);

    let id = IdentityId::of_module(arguments.device, arguments.module)?;
    let module = Module::new(&id).expect("the id was just made of a device and a module");
    let module = match hub.create_module(&module).await {
        Ok(module) => {
            println!("Created module {id}");
            module
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            println!("Module {id} exists already");
            hub.module(&id).await?
        }
        Err(error) => return Err(error),
    };
    println!("Module connection string = {}", module.connection_string(&host_name)?);
    Ok(())
}
