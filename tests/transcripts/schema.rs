//! What AMQP calls its described types, and the fields of those that are lists (OASIS AMQP 1.0 parts 2, 3 and 5).

/// A described type by its number.
pub(crate) struct Kind {
    pub(crate) code: u64,
    pub(crate) name: &'static str,
    /// `None` for a type that is one value and no list of fields.
    pub(crate) fields: Option<&'static [&'static str]>,
}

impl Kind {
    pub(crate) fn of(code: u64) -> &'static Self {
        let found = KINDS.iter().find(|kind| kind.code == code);
        found.unwrap_or_else(|| panic!("no described type has the number {code:#x}"))
    }

    pub(crate) fn named(name: &str) -> &'static Self {
        let found = KINDS.iter().find(|kind| kind.name == name);
        found.unwrap_or_else(|| panic!("no described type is called '{name}'"))
    }
}

const fn list(code: u64, name: &'static str, fields: &'static [&'static str]) -> Kind {
    Kind { code, name, fields: Some(fields) }
}

const fn value(code: u64, name: &'static str) -> Kind {
    Kind { code, name, fields: None }
}

const KINDS: &[Kind] = &[
    list(
        0x10,
        "open",
        &[
            "container-id",
            "hostname",
            "max-frame-size",
            "channel-max",
            "idle-time-out",
            "outgoing-locales",
            "incoming-locales",
            "offered-capabilities",
            "desired-capabilities",
            "properties",
        ],
    ),
    list(
        0x11,
        "begin",
        &[
            "remote-channel",
            "next-outgoing-id",
            "incoming-window",
            "outgoing-window",
            "handle-max",
            "offered-capabilities",
            "desired-capabilities",
            "properties",
        ],
    ),
    list(
        0x12,
        "attach",
        &[
            "name",
            "handle",
            "is-receiver",
            "snd-settle-mode",
            "rcv-settle-mode",
            "source",
            "target",
            "unsettled",
            "incomplete-unsettled",
            "initial-delivery-count",
            "max-message-size",
            "offered-capabilities",
            "desired-capabilities",
            "properties",
        ],
    ),
    list(
        0x13,
        "flow",
        &[
            "next-incoming-id",
            "incoming-window",
            "next-outgoing-id",
            "outgoing-window",
            "handle",
            "delivery-count",
            "link-credit",
            "available",
            "drain",
            "echo",
            "properties",
        ],
    ),
    list(
        0x14,
        "transfer",
        &[
            "handle",
            "delivery-id",
            "delivery-tag",
            "message-format",
            "settled",
            "more",
            "rcv-settle-mode",
            "state",
            "resume",
            "aborted",
            "batchable",
        ],
    ),
    list(0x15, "disposition", &["is-receiver", "first", "last", "settled", "state", "batchable"]),
    list(0x16, "detach", &["handle", "closed", "error"]),
    list(0x17, "end", &["error"]),
    list(0x18, "close", &["error"]),
    list(0x1d, "error", &["condition", "description", "info"]),
    list(0x23, "received", &["section-number", "section-offset"]),
    list(0x24, "accepted", &[]),
    list(0x25, "rejected", &["error"]),
    list(0x26, "released", &[]),
    list(0x27, "modified", &["delivery-failed", "undeliverable-here", "message-annotations"]),
    list(
        0x28,
        "source",
        &[
            "address",
            "durable",
            "expiry-policy",
            "timeout",
            "dynamic",
            "dynamic-node-properties",
            "distribution-mode",
            "filter",
            "default-outcome",
            "outcomes",
            "capabilities",
        ],
    ),
    list(
        0x29,
        "target",
        &[
            "address",
            "durable",
            "expiry-policy",
            "timeout",
            "dynamic",
            "dynamic-node-properties",
            "capabilities",
        ],
    ),
    list(0x40, "sasl-mechanisms", &["sasl-server-mechanisms"]),
    list(0x41, "sasl-init", &["mechanism", "initial-response", "hostname"]),
    list(0x44, "sasl-outcome", &["code", "additional-data"]),
    list(0x70, "header", &["durable", "priority", "ttl", "first-acquirer", "delivery-count"]),
    value(0x72, "message-annotations"),
    list(
        0x73,
        "properties",
        &[
            "message-id",
            "user-id",
            "to",
            "subject",
            "reply-to",
            "correlation-id",
            "content-type",
            "content-encoding",
            "absolute-expiry-time",
            "creation-time",
            "group-id",
            "group-sequence",
            "reply-to-group-id",
        ],
    ),
    value(0x74, "application-properties"),
    value(0x75, "data"),
    value(0x77, "value"),
];
