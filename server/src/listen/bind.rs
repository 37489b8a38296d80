//! Takes every port before anything is served. A port that cannot be had ends the start with the reason and the
//! ways out (PRODUCT section 2); the process never half-starts.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpListener, TcpSocket};

use crate::config::Bind;

/// A listener to be.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// `https`, `mqtts`, `amqps`, `amqp` or `admin`.
    pub name: &'static str,
    /// What it is for, for people.
    pub purpose: &'static str,
    /// The option that sets its port.
    pub port_flag: &'static str,
    /// The option that sets its address.
    pub bind_flag: &'static str,
    /// Where.
    pub bind: Bind,
    /// The port; 0 for any.
    pub port: u16,
}

/// A listener's sockets: one, or two where the loopback has both families.
#[derive(Debug)]
pub struct Bound {
    /// The plan's name.
    pub name: &'static str,
    /// At least one.
    pub sockets: Vec<TcpListener>,
}

impl Bound {
    /// Where it listens.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect()
    }
}

/// Binds all plans, or none.
///
/// # Errors
/// Every port that could not be had.
pub fn bind_all(plans: &[Plan]) -> Result<Vec<Bound>, BindErrors> {
    let (mut bound, mut errors) = (Vec::new(), Vec::new());
    for plan in plans {
        match bind(plan) {
            Ok(sockets) => bound.push(Bound { name: plan.name, sockets }),
            Err(error) => errors.push(*error),
        }
    }
    if errors.is_empty() { Ok(bound) } else { Err(BindErrors(errors)) }
}

fn bind(plan: &Plan) -> Result<Vec<TcpListener>, Box<BindError>> {
    let failed = |address: SocketAddr| move |error| Box::new(BindError { plan: *plan, address, error });
    let (first, second) = plan.bind.addresses();
    let address = SocketAddr::new(first, plan.port);
    let socket = listen(address).map_err(failed(address))?;
    // Both loopback addresses share the port that was picked for the first.
    let port = socket.local_addr().map_err(failed(address))?.port();
    let mut sockets = vec![socket];
    if let Some(second) = second {
        let address = SocketAddr::new(second, port);
        match listen(address) {
            Ok(socket) => sockets.push(socket),
            Err(error) if is_without_ipv6(&error) || plan.port == 0 => {
                tracing::debug!(listener = plan.name, %address, %error, "left out");
            }
            // Somebody else there would get the connections of clients that resolve localhost to ::1.
            Err(error) => return Err(failed(address)(error)),
        }
    }
    Ok(sockets)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart must not wait for the connections of the process before; on Windows this would steal ports.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn is_without_ipv6(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(EAFNOSUPPORT)
}

/// One port that could not be had.
#[derive(Debug)]
struct BindError {
    plan: Plan,
    address: SocketAddr,
    error: io::Error,
}

/// The ports that could not be had, each with the ways out.
#[derive(Debug)]
pub struct BindErrors(Vec<BindError>);

impl std::error::Error for BindErrors {}

impl fmt::Display for BindErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, failure) in self.0.iter().enumerate() {
            let Plan { purpose, .. } = failure.plan;
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}cannot listen on {} for {purpose}: {}", failure.address, failure.error)?;
        }
        let is_kind = |kind| self.0.iter().any(|failure| failure.error.kind() == kind);
        if is_kind(io::ErrorKind::PermissionDenied) {
            self.write_ways_out_of_permission(f)?;
        }
        if is_kind(io::ErrorKind::AddrInUse) {
            self.write_ways_out_of_use(f)?;
        }
        if is_kind(io::ErrorKind::AddrNotAvailable) {
            let bind = self
                .of_kind(io::ErrorKind::AddrNotAvailable)
                .map_or("--bind", |failure| failure.plan.bind_flag);
            write!(f, "\n\nThis machine has no such address: choose another with {bind} ADDR.")?;
        }
        Ok(())
    }
}

impl BindErrors {
    fn of_kind(&self, kind: io::ErrorKind) -> Option<&BindError> {
        self.0.iter().find(|failure| failure.error.kind() == kind)
    }

    fn flags(&self, kind: io::ErrorKind) -> String {
        let failures = self.0.iter().filter(|failure| failure.error.kind() == kind);
        let flags = failures.map(|failure| {
            let port = failure.plan.port;
            format!(
                "{} {}",
                failure.plan.port_flag,
                if port < 1024 { port + 8000 } else { port.saturating_add(10_000) }
            )
        });
        flags.collect::<Vec<_>>().join(" ")
    }

    fn write_ways_out_of_permission(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lowest = self
            .0
            .iter()
            .filter(|failure| failure.error.kind() == io::ErrorKind::PermissionDenied)
            .map(|failure| failure.address.port())
            .min()
            .unwrap_or(443);
        let program = std::env::current_exe()
            .map_or_else(|_| "iothub-emulator".into(), |path| path.display().to_string());
        write!(
            f,
            "\n\nPorts below 1024 need a right that this process does not have. Ways out, any one of them:\
             \n  sudo sysctl net.ipv4.ip_unprivileged_port_start={lowest}    (every program, until the next boot)\
             \n  sudo setcap cap_net_bind_service=+ep {program}    (this file, until it is rebuilt)\
             \n  docker compose up    (in a container)\
             \n  iothub-emulator {}    (another port; most SDKs know only the standard one)",
            self.flags(io::ErrorKind::PermissionDenied)
        )
    }

    fn write_ways_out_of_use(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(failure) = self.of_kind(io::ErrorKind::AddrInUse) else { return Ok(()) };
        write!(
            f,
            "\n\nAnother program listens there already, perhaps another iothub-emulator. Ways out, any one of them:\
             \n  ss -ltnp 'sport = :{}'    (shows which program it is; stop it)\
             \n  iothub-emulator {}    (another port; most SDKs know only the standard one)",
            failure.address.port(),
            self.flags(io::ErrorKind::AddrInUse)
        )?;
        if failure.address.is_ipv4() && matches!(failure.address.ip(), IpAddr::V4(ip) if ip.is_loopback()) {
            write!(
                f,
                "\n  iothub-emulator --bind 127.0.0.2    (another loopback address with the standard ports; Linux)"
            )?;
        }
        Ok(())
    }
}

/// Connections the system holds for us until we accept them.
const BACKLOG: u32 = 1024;
/// "Address family not supported", which the standard library has no name for.
const EAFNOSUPPORT: i32 = if cfg!(target_os = "linux") {
    97
} else if cfg!(windows) {
    10047
} else {
    47
};

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(port: u16) -> Plan {
        Plan {
            name: "https",
            purpose: "HTTPS",
            port_flag: "--https-port",
            bind_flag: "--bind",
            bind: Bind::Loopback,
            port,
        }
    }

    #[tokio::test]
    async fn port_0_picks_one_port_for_both_loopback_addresses() {
        let bound = bind_all(&[plan(0)]).unwrap();
        let addresses = bound[0].addresses();
        assert!(addresses.iter().all(|address| address.port() == addresses[0].port() && address.port() != 0));
    }

    #[tokio::test]
    async fn a_port_in_use_is_named_with_its_purpose_and_the_ways_out() {
        let taken = bind_all(&[plan(0)]).unwrap();
        let port = taken[0].addresses()[0].port();
        let free = plan(0);
        let text = bind_all(&[free, plan(port)]).unwrap_err().to_string();
        for words in
            [format!("127.0.0.1:{port}"), "HTTPS".into(), "--https-port".into(), format!("sport = :{port}")]
        {
            assert!(text.contains(&words), "{words}: {text}");
        }
    }

    #[test]
    fn a_missing_right_is_explained_with_lines_to_copy() {
        let error = io::Error::from(io::ErrorKind::PermissionDenied);
        let failure = BindError { plan: plan(443), address: "127.0.0.1:443".parse().unwrap(), error };
        let text = BindErrors(vec![failure]).to_string();
        for words in [
            "sudo sysctl net.ipv4.ip_unprivileged_port_start=443",
            "sudo setcap cap_net_bind_service=+ep /",
            "docker compose up",
            "--https-port 8443",
        ] {
            assert!(text.contains(words), "{words}: {text}");
        }
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_refused_with_the_option() {
        let elsewhere = Plan { bind: Bind::Address("192.0.2.1".parse().unwrap()), ..plan(0) };
        let text = bind_all(&[elsewhere]).unwrap_err().to_string();
        assert!(text.contains("--bind ADDR"), "{text}");
    }
}
