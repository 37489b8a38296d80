//! `endpoints.json` in the state folder: where the running process listens, for `healthcheck`, other commands and
//! scripts that let it pick free ports (PRODUCT section 2).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::state_folder::{Access, StateFolder, StateFolderError};

/// The addresses in use, by listener.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// The process.
    pub pid: u32,
    /// The `HostName` of its connection strings.
    pub host_name: String,
    /// HTTPS.
    pub https: Vec<SocketAddr>,
    /// MQTT over TLS.
    pub mqtts: Vec<SocketAddr>,
    /// AMQP over TLS.
    pub amqps: Vec<SocketAddr>,
    /// Plain AMQP.
    pub amqp: Vec<SocketAddr>,
    /// Admin API.
    pub admin: Vec<SocketAddr>,
}

impl Endpoints {
    /// What the process wrote that runs on this folder; `None` when none does, or it cannot be understood.
    ///
    /// # Errors
    /// [`StateFolderError`] when there is a file that cannot be read.
    pub fn read(folder: &StateFolder) -> Result<Option<Self>, StateFolderError> {
        if !folder.is_occupied()? {
            return Ok(None);
        }
        Ok(folder.read(FILE)?.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Tells others.
    ///
    /// # Errors
    /// [`StateFolderError`].
    pub fn write(&self, folder: &StateFolder) -> Result<(), StateFolderError> {
        let text = serde_json::to_string_pretty(self).expect("addresses and text always serialize");
        folder.write(FILE, &(text + "\n"), Access::Public)
    }

    /// Takes the file away.
    ///
    /// # Errors
    /// [`StateFolderError`].
    pub fn remove(folder: &StateFolder) -> Result<(), StateFolderError> {
        folder.remove(FILE)
    }
}

/// How to reach `address` from this machine: a listener on all addresses is reached over the loopback.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

const FILE: &str = "endpoints.json";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_behind_is_not_taken_for_a_running_one() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = StateFolder::open(temporary.path()).unwrap();
        let endpoints = Endpoints { pid: 1, ..Endpoints::default() };
        let running = folder.occupy().unwrap();
        endpoints.write(&folder).unwrap();
        assert_eq!(Endpoints::read(&folder).unwrap(), Some(endpoints));
        drop(running);
        assert_eq!(Endpoints::read(&folder).unwrap(), None);
    }

    #[test]
    fn a_listener_on_every_address_is_reached_over_the_loopback() {
        for (listens, reach) in
            [("0.0.0.0:1", "127.0.0.1:1"), ("[::]:1", "[::1]:1"), ("127.0.0.2:1", "127.0.0.2:1")]
        {
            assert_eq!(reachable(listens.parse().unwrap()), reach.parse().unwrap());
        }
    }
}
