//! The back end's side of the hub: identities and twins over HTTPS (contract/rest.md sections 1 to 4).
//! Reading order: [`ServiceClient`] here, the documents in `identity` and `twin`, one request in `http`.

mod http;
mod identity;
mod twin;

use std::time::Duration;

use ::http::Method;
use serde_json::Value;

pub use self::identity::{
    Authentication, AuthenticationType, ConnectionState, Device, DeviceCapabilities, DeviceStatus, IfMatch,
    Module, SymmetricKey, X509Thumbprint,
};
pub use self::twin::{Twin, TwinPatch, TwinProperties};

use self::http::{HttpClient, Request};
use crate::connection_string::ServiceConnectionString;
use crate::error::Error;
use crate::identity_id::IdentityId;
use crate::tls::TrustedRoots;

/// Default time for one request, answer included.
const DEFAULT_REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

const DEFAULT_HTTPS_PORT: u16 = 443;

/// Manages the identities and twins of one hub. Cheap to clone; clones share their connections.
///
/// ```no_run
/// # async fn example() -> Result<(), iothub_client::Error> {
/// use iothub_client::service::{Device, ServiceClient, TwinPatch};
/// use iothub_client::{IdentityId, ServiceConnectionString};
///
/// let text = std::env::var("IOTHUB_CONNECTION_STRING").unwrap_or_default();
/// let hub = ServiceClient::new(&ServiceConnectionString::parse(&text)?)?;
/// let id = IdentityId::of_device("thermostat-1")?;
/// hub.create_device(&Device::new(&id)).await?;
/// let twin = hub.twin(&id).await?;
/// let patch = TwinPatch::desired(serde_json::json!({ "interval_secs": 30 }));
/// hub.patch_twin(&id, &patch, &twin.if_match()).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct ServiceClient {
    http: HttpClient,
}

/// Settings of a [`ServiceClient`] beyond its connection string.
#[derive(Clone, Debug)]
pub struct ServiceClientBuilder {
    connection_string: ServiceConnectionString,
    port: u16,
    request_timeout: Duration,
    roots: TrustedRoots,
}

impl ServiceClientBuilder {
    /// Uses another HTTPS port than 443.
    #[must_use]
    pub const fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Gives one request this long, answer included; 60 s by default.
    #[must_use]
    pub const fn request_timeout(mut self, timeout: Duration) -> Self {
        self.request_timeout = timeout;
        self
    }

    /// Believes these root certificates.
    #[must_use]
    pub fn trusted_roots(mut self, roots: TrustedRoots) -> Self {
        self.roots = roots;
        self
    }

    /// Makes the client. Nothing is sent before the first operation.
    ///
    /// # Errors
    /// `InvalidConfiguration` when there is no usable root certificate or the host name is not one.
    pub fn build(self) -> Result<ServiceClient, Error> {
        let http = HttpClient::new(&self.connection_string, self.port, self.request_timeout, &self.roots)?;
        Ok(ServiceClient { http })
    }
}

impl ServiceClient {
    /// A client with default settings.
    ///
    /// # Errors
    /// As [`ServiceClientBuilder::build`].
    pub fn new(connection_string: &ServiceConnectionString) -> Result<Self, Error> {
        Self::builder(connection_string.clone()).build()
    }

    /// Sets ports, trust and time-outs.
    #[must_use]
    pub fn builder(connection_string: ServiceConnectionString) -> ServiceClientBuilder {
        ServiceClientBuilder {
            connection_string,
            port: DEFAULT_HTTPS_PORT,
            request_timeout: DEFAULT_REQUEST_TIMEOUT,
            roots: TrustedRoots::system(),
        }
    }

    /// Creates a device; the hub generates keys that are not given. Needs RegistryWrite.
    ///
    /// # Errors
    /// `AlreadyExists`, `InvalidArgument`, `Unauthorized`, or the request failed.
    pub async fn create_device(&self, device: &Device) -> Result<Device, Error> {
        let doing = format!("create device {:?}", device.device_id);
        let request = Request::new(Method::PUT, device_path(device)?, doing).body(device)?;
        self.http.json(request).await
    }

    /// Reads a device, keys included. Needs RegistryRead.
    ///
    /// # Errors
    /// `NotFound`, `Unauthorized`, or the request failed.
    pub async fn device(&self, id: &IdentityId) -> Result<Device, Error> {
        let path = format!("/devices/{}", device_of(id)?.encoded());
        self.http.json(Request::new(Method::GET, path, format!("get device \"{id}\""))).await
    }

    /// Replaces what can be changed of a device. Needs RegistryWrite.
    ///
    /// # Errors
    /// `PreconditionFailed` when `if_match` names an older version, `NotFound`, or the request failed.
    pub async fn update_device(&self, device: &Device, if_match: &IfMatch) -> Result<Device, Error> {
        let doing = format!("update device {:?}", device.device_id);
        let request =
            Request::new(Method::PUT, device_path(device)?, doing).if_match(if_match).body(device)?;
        self.http.json(request).await
    }

    /// Deletes a device with its modules and twins. Needs RegistryWrite.
    ///
    /// # Errors
    /// `PreconditionFailed`, `NotFound`, or the request failed.
    pub async fn delete_device(&self, id: &IdentityId, if_match: &IfMatch) -> Result<(), Error> {
        let path = format!("/devices/{}", device_of(id)?.encoded());
        let request =
            Request::new(Method::DELETE, path, format!("delete device \"{id}\"")).if_match(if_match);
        self.http.empty(request).await
    }

    /// Lists up to `top` devices; the hub returns 1000 at most, without a way to ask for the rest.
    ///
    /// # Errors
    /// `Unauthorized`, or the request failed.
    pub async fn devices(&self, top: usize) -> Result<Vec<Device>, Error> {
        let request =
            Request::new(Method::GET, "/devices".to_owned(), "list devices".to_owned()).query("top", top);
        self.http.json(request).await
    }

    /// Creates a module on an existing device. Needs RegistryWrite.
    ///
    /// # Errors
    /// `AlreadyExists`, `NotFound` when there is no such device, or the request failed.
    pub async fn create_module(&self, module: &Module) -> Result<Module, Error> {
        let doing = format!("create module {:?} on device {:?}", module.module_id, module.device_id);
        self.http.json(Request::new(Method::PUT, module_path(module)?, doing).body(module)?).await
    }

    /// Reads a module, keys included. Needs RegistryRead.
    ///
    /// # Errors
    /// `NotFound`, `Unauthorized`, or the request failed.
    pub async fn module(&self, id: &IdentityId) -> Result<Module, Error> {
        let path = format!("/devices/{}", module_of(id)?.encoded());
        self.http.json(Request::new(Method::GET, path, format!("get module \"{id}\""))).await
    }

    /// Replaces what can be changed of a module. Needs RegistryWrite.
    ///
    /// # Errors
    /// `PreconditionFailed`, `NotFound`, or the request failed.
    pub async fn update_module(&self, module: &Module, if_match: &IfMatch) -> Result<Module, Error> {
        let doing = format!("update module {:?} on device {:?}", module.module_id, module.device_id);
        let request =
            Request::new(Method::PUT, module_path(module)?, doing).if_match(if_match).body(module)?;
        self.http.json(request).await
    }

    /// Deletes a module with its twin. Needs RegistryWrite.
    ///
    /// # Errors
    /// `PreconditionFailed`, `NotFound`, or the request failed.
    pub async fn delete_module(&self, id: &IdentityId, if_match: &IfMatch) -> Result<(), Error> {
        let path = format!("/devices/{}", module_of(id)?.encoded());
        let request =
            Request::new(Method::DELETE, path, format!("delete module \"{id}\"")).if_match(if_match);
        self.http.empty(request).await
    }

    /// Lists the modules of a device. Needs RegistryRead.
    ///
    /// # Errors
    /// `NotFound`, `Unauthorized`, or the request failed.
    pub async fn modules(&self, device: &IdentityId) -> Result<Vec<Module>, Error> {
        let path = format!("/devices/{}/modules", device_of(device)?.encoded());
        self.http
            .json(Request::new(Method::GET, path, format!("list the modules of device \"{device}\"")))
            .await
    }

    /// Reads the twin of a device or module. Needs ServiceConnect, as everything about twins does.
    ///
    /// # Errors
    /// `NotFound`, `Unauthorized`, or the request failed.
    pub async fn twin(&self, id: &IdentityId) -> Result<Twin, Error> {
        self.http.json(twin_request(Method::GET, id, "get")).await
    }

    /// Merges changes into a twin; `null` deletes a property.
    ///
    /// # Errors
    /// `PreconditionFailed`, `InvalidArgument` past a limit of twins, `NotFound`, or the request failed.
    pub async fn patch_twin(
        &self,
        id: &IdentityId,
        patch: &TwinPatch,
        if_match: &IfMatch,
    ) -> Result<Twin, Error> {
        let request = twin_request(Method::PATCH, id, "patch").if_match(if_match).body(patch)?;
        self.http.json(request).await
    }

    /// Replaces the sections of a twin that `sections` holds and leaves the others.
    ///
    /// # Errors
    /// As [`ServiceClient::patch_twin`].
    pub async fn replace_twin(
        &self,
        id: &IdentityId,
        sections: &TwinPatch,
        if_match: &IfMatch,
    ) -> Result<Twin, Error> {
        let request = twin_request(Method::PUT, id, "replace").if_match(if_match).body(sections)?;
        self.http.json(request).await
    }
}

fn twin_request(method: Method, id: &IdentityId, verb: &str) -> Request {
    Request::new(method, format!("/twins/{}", id.encoded()), format!("{verb} the twin of \"{id}\""))
}

fn device_path(device: &Device) -> Result<String, Error> {
    Ok(format!("/devices/{}", IdentityId::of_device(device.device_id.as_str())?.encoded()))
}

fn module_path(module: &Module) -> Result<String, Error> {
    let id = IdentityId::of_module(module.device_id.as_str(), module.module_id.as_str())?;
    Ok(format!("/devices/{}", id.encoded()))
}

fn device_of(id: &IdentityId) -> Result<&IdentityId, Error> {
    match id.module() {
        None => Ok(id),
        Some(_) => Err(Error::configuration(format!("\"{id}\" names a module; a device is needed here"))),
    }
}

fn module_of(id: &IdentityId) -> Result<&IdentityId, Error> {
    match id.module() {
        Some(_) => Ok(id),
        None => Err(Error::configuration(format!("\"{id}\" names a device; a module is needed here"))),
    }
}

/// An absent section of a twin reads as an empty one (contract/rest.md 3.1).
fn empty_object() -> Value {
    Value::Object(serde_json::Map::new())
}
