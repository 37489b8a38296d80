//! The REST calls of [`super`]: what a pass asks, and what takes away again what it made.

use crate::device::name;
use crate::dice::Dice;
use crate::load::Request;
use crate::registry::PATCH;
use crate::target::{BULK, request, row};

/// One kind of call and how much of it a pass has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    kind: Kind,
    pub(super) connections: usize,
    /// Calls of each connection in a pass. What creates has few, so that the registry hardly grows by a pass.
    calls: usize,
    /// Devices that one call is about.
    pub(super) operations_each: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    BulkCreate,
    Create,
    Get,
    List,
    TwinGet,
    TwinPatch,
}

impl Call {
    pub(super) fn named(name: &str) -> Option<Self> {
        let of =
            |kind, connections, calls, operations_each| Self { kind, connections, calls, operations_each };
        Some(match name {
            "bulk-create" => of(Kind::BulkCreate, 4, 1, BULK),
            "create" => of(Kind::Create, 32, 10, 1),
            "get" => of(Kind::Get, 32, 128, 1),
            "list" => of(Kind::List, 1, 4, 1),
            "twin-get" => of(Kind::TwinGet, 32, 128, 1),
            "twin-patch" => of(Kind::TwinPatch, 32, 128, 1),
            _ => return None,
        })
    }

    /// A list for each connection.
    pub(super) fn pass(&self, dice: &mut Dice, devices: usize, token: &str) -> Vec<Vec<Request>> {
        self.lists(|connection, n| {
            let mut any = || name(dice.below(devices as u64) as usize);
            let fresh = fresh(connection, n);
            match self.kind {
                Kind::BulkCreate => bulk(connection, n, token, row),
                Kind::Create => {
                    let body = format!(r#"{{"deviceId":"{fresh}"}}"#);
                    request("PUT", &format!("/devices/{fresh}"), token, &[], &body)
                }
                Kind::Get => request("GET", &format!("/devices/{}", any()), token, &[], ""),
                Kind::List => request("GET", "/devices?top=100", token, &[], ""),
                Kind::TwinGet => request("GET", &format!("/twins/{}", any()), token, &[], ""),
                Kind::TwinPatch => request("PATCH", &format!("/twins/{}", any()), token, &[], PATCH),
            }
        })
    }

    /// What deletes the devices that a pass made; `None` where it made none.
    pub(super) fn undo(&self, token: &str) -> Option<Vec<Vec<Request>>> {
        match self.kind {
            Kind::BulkCreate => Some(self.lists(|connection, n| {
                bulk(connection, n, token, |device| format!(r#"{{"id":"{device}","importMode":"delete"}}"#))
            })),
            Kind::Create => Some(self.lists(|connection, n| {
                let path = format!("/devices/{}", fresh(connection, n));
                request("DELETE", &path, token, &[("If-Match", "*")], "")
            })),
            Kind::Get | Kind::List | Kind::TwinGet | Kind::TwinPatch => None,
        }
    }

    fn lists(&self, mut one: impl FnMut(usize, usize) -> Vec<u8>) -> Vec<Vec<Request>> {
        let mut list = |connection| (0..self.calls).map(|n| one(connection, n).into()).collect();
        (0..self.connections).map(&mut list).collect()
    }
}

fn fresh(connection: usize, n: usize) -> String {
    format!("fresh-{connection}-{n}")
}

fn bulk(connection: usize, n: usize, token: &str, row: impl Fn(&str) -> String) -> Vec<u8> {
    let rows: Vec<_> = (0..BULK).map(|of_call| row(&fresh(connection, n * BULK + of_call))).collect();
    request("POST", "/devices", token, &[], &format!("[{}]", rows.join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(lists: &[Vec<Request>]) -> Vec<String> {
        let path = |request: &Request| {
            let text = String::from_utf8(request.to_vec()).unwrap();
            text.split(' ').nth(1).unwrap().to_owned()
        };
        lists.iter().flatten().map(path).collect()
    }

    #[test]
    fn what_a_pass_creates_is_deleted_again_and_was_not_there_before() {
        let call = Call::named("create").unwrap();
        let created = paths(&call.pass(&mut Dice::of(1), 1000, "token"));
        assert_eq!(created, paths(&call.undo("token").unwrap()));
        assert_eq!(created.len(), 320);
        assert!(created.iter().all(|path| path.starts_with("/devices/fresh-")));
    }

    #[test]
    fn a_pass_asks_for_other_devices_than_the_one_before() {
        let call = Call::named("twin-get").unwrap();
        let mut dice = Dice::of(1);
        let (one, two) = (call.pass(&mut dice, 1_000_000, "token"), call.pass(&mut dice, 1_000_000, "token"));
        assert_eq!(one.len(), call.connections);
        assert_ne!(paths(&one), paths(&two));
        assert!(call.undo("token").is_none());
    }

    #[test]
    fn rows_of_bulk_calls_are_json_of_the_modes_they_say() {
        let call = Call::named("bulk-create").unwrap();
        for (lists, mode) in [
            (call.pass(&mut Dice::of(1), 1000, "token"), "createOrUpdate"),
            (call.undo("token").unwrap(), "delete"),
        ] {
            let text = String::from_utf8(lists[0][0].to_vec()).unwrap();
            let body: serde_json::Value =
                serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap();
            assert_eq!(body.as_array().unwrap().len(), BULK);
            assert_eq!(body[0]["importMode"], mode);
        }
    }
}
