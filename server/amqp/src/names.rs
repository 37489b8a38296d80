//! Every literal of the AMQP wire, under the contract section that defines it.

/// Opens AMQP, with or without a SASL layer before it. contract/amqp.md 1.1.
pub(crate) const AMQP_HEADER: [u8; 8] = *b"AMQP\x00\x01\x00\x00";
/// Opens the SASL layer. contract/amqp.md 1.1.
pub(crate) const SASL_HEADER: [u8; 8] = *b"AMQP\x03\x01\x00\x00";

/// What the hub calls itself in its open. contract/amqp.md 1.2.
pub(crate) const CONTAINER_ID: &str = "iothub-emulator";

/// Offered in this order. contract/amqp.md 1.1.
pub(crate) const SASL_MECHANISMS: &[&str] = &[SASL_CBS, SASL_ANONYMOUS, SASL_PLAIN, SASL_EXTERNAL];
/// Like ANONYMOUS: the credentials follow by CBS. contract/amqp.md 1.1.
pub(crate) const SASL_CBS: &str = "MSSBCBS";
/// No credentials. contract/amqp.md 1.1.
pub(crate) const SASL_ANONYMOUS: &str = "ANONYMOUS";
/// User and SAS token. contract/amqp.md 1.1.
pub(crate) const SASL_PLAIN: &str = "PLAIN";
/// The certificate TLS saw. contract/amqp.md 1.1.
pub(crate) const SASL_EXTERNAL: &str = "EXTERNAL";
/// Between a device or module and its hub in a PLAIN user. contract/amqp.md 1.1.
pub(crate) const PLAIN_SAS_PREFIX: &str = "sas.";
/// Between a policy and its hub in a PLAIN user. contract/amqp.md 1.1.
pub(crate) const PLAIN_ROOT_PREFIX: &str = "sas.root.";
/// Between a device and its module in a PLAIN user. contract/amqp.md 1.1.
pub(crate) const PLAIN_MODULES: &str = "/modules/";

/// The symbolic descriptors a client may write instead of the numbers. contract/amqp.md 1.3.9, AMQP 1.0.
pub(crate) mod descriptors {
    pub(crate) const PERFORMATIVES: &[(&str, u64)] = &[
        ("amqp:open:list", 0x10),
        ("amqp:begin:list", 0x11),
        ("amqp:attach:list", 0x12),
        ("amqp:flow:list", 0x13),
        ("amqp:transfer:list", 0x14),
        ("amqp:disposition:list", 0x15),
        ("amqp:detach:list", 0x16),
        ("amqp:end:list", 0x17),
        ("amqp:close:list", 0x18),
    ];
    pub(crate) const SECTIONS: &[(&str, u64)] = &[
        ("amqp:header:list", 0x70),
        ("amqp:delivery-annotations:map", 0x71),
        ("amqp:message-annotations:map", 0x72),
        ("amqp:properties:list", 0x73),
        ("amqp:application-properties:map", 0x74),
        ("amqp:data:binary", 0x75),
        ("amqp:amqp-sequence:list", 0x76),
        ("amqp:amqp-value:*", 0x77),
        ("amqp:footer:map", 0x78),
    ];
    pub(crate) const SASL: &[(&str, u64)] = &[("amqp:sasl-init:list", 0x41)];
    pub(crate) const TERMINI: &[(&str, u64)] = &[("amqp:source:list", 0x28), ("amqp:target:list", 0x29)];
}

/// Parts of link addresses; fixed ones are compared without case. contract/amqp.md 1.5, 3.
pub(crate) mod segments {
    pub(crate) const CBS: &str = "$cbs";
    pub(crate) const CONSUMER_GROUPS: &str = "ConsumerGroups";
    pub(crate) const DEVICEBOUND: &str = "devicebound";
    pub(crate) const DEVICES: &str = "devices";
    pub(crate) const EVENTS: &str = "events";
    pub(crate) const FEEDBACK: &str = "feedback";
    pub(crate) const FILE_NOTIFICATIONS: &str = "filenotifications";
    pub(crate) const MANAGEMENT: &str = "$management";
    pub(crate) const MESSAGES: &str = "messages";
    pub(crate) const METHODS: &str = "methods";
    pub(crate) const MODULES: &str = "modules";
    pub(crate) const PARTITIONS: &str = "Partitions";
    pub(crate) const SERVICEBOUND: &str = "serviceBound";
    pub(crate) const TWIN: &str = "twin";
}

/// Where a reader of events begins. contract/eventhubs.md 4.1.
pub(crate) mod selector {
    pub(crate) const FILTER: &str = "apache.org:selector-filter:string";
    /// The descriptor by name, for its first code.
    pub(crate) const DESCRIPTOR_NAMES: &[(&str, u64)] = &[(FILTER, 0x0000_468C_0000_0004)];
    /// That of Apache's registry, and that of .NET.
    pub(crate) const DESCRIPTOR_CODES: &[u64] = &[0x0000_468C_0000_0004, 0x0000_0013_7000_000A];
    pub(crate) const ANNOTATION: &str = "amqp.annotation.";
    pub(crate) const OFFSET: &str = "x-opt-offset";
    pub(crate) const SEQUENCE_NUMBER: &str = "x-opt-sequence-number";
    pub(crate) const ENQUEUED_TIME: &str = "x-opt-enqueued-time";
    /// What az CLI and older clients write. contract/eventhubs.md 4.1.
    pub(crate) const ENQUEUED_TIME_UTC: &str = "x-opt-enqueuedtimeutc";
    pub(crate) const EARLIEST: &str = "-1";
    pub(crate) const LATEST: &str = "@latest";
}

/// Events as readers get them. contract/eventhubs.md 5, contract/mqtt.md 11.
pub(crate) mod event {
    pub(crate) const AUTH_GENERATION_ID: &str = "iothub-connection-auth-generation-id";
    pub(crate) const AUTH_METHOD: &str = "iothub-connection-auth-method";
    pub(crate) const COMPONENT: &str = super::telemetry::COMPONENT;
    pub(crate) const CREATION_TIME: &str = super::telemetry::CREATION_TIME;
    pub(crate) const DEVICE_ID: &str = "iothub-connection-device-id";
    pub(crate) const DIAGNOSTIC_CONTEXT: &str = super::telemetry::DIAGNOSTIC_CONTEXT;
    pub(crate) const DIAGNOSTIC_ID: &str = super::telemetry::DIAGNOSTIC_ID;
    pub(crate) const ENQUEUED_TIME: &str = super::selector::ENQUEUED_TIME;
    pub(crate) const HUB_ENQUEUED_TIME: &str = super::cloud_to_device::ENQUEUED_TIME;
    pub(crate) const INTERFACE_ID: &str = super::telemetry::INTERFACE_ID;
    pub(crate) const MESSAGE_SCHEMA: &str = super::telemetry::MESSAGE_SCHEMA;
    pub(crate) const MODEL_ID: &str = "dt-dataschema";
    pub(crate) const MODULE_ID: &str = "iothub-connection-module-id";
    pub(crate) const OFFSET: &str = super::selector::OFFSET;
    pub(crate) const PARTITION_KEY: &str = "x-opt-partition-key";
    pub(crate) const SEQUENCE_NUMBER: &str = super::selector::SEQUENCE_NUMBER;
    pub(crate) const SOURCE: &str = "iothub-message-source";
}

/// What a partition says of itself: in answers and in runtime metrics. contract/eventhubs.md 3, 5.
pub(crate) mod partition {
    pub(crate) const BEGIN_SEQUENCE_NUMBER: &str = "begin_sequence_number";
    pub(crate) const IS_EMPTY: &str = "is_partition_empty";
    pub(crate) const LAST_ENQUEUED_OFFSET: &str = "last_enqueued_offset";
    pub(crate) const LAST_ENQUEUED_SEQUENCE_NUMBER: &str = "last_enqueued_sequence_number";
    pub(crate) const LAST_ENQUEUED_TIME: &str = "last_enqueued_time_utc";
    pub(crate) const NAME: &str = "name";
    pub(crate) const NO_OFFSET: &str = super::selector::EARLIEST;
    pub(crate) const PARTITION: &str = "partition";
    pub(crate) const RETRIEVAL_TIME: &str = "runtime_info_retrieval_time_utc";
    pub(crate) const TYPE: &str = "type";
}

/// `$management` requests and replies. contract/eventhubs.md 3.
pub(crate) mod management {
    pub(crate) const BAD_PARTITION: &str = "com.microsoft:argument-out-of-range";
    pub(crate) const CREATED_AT: &str = "created_at";
    pub(crate) const ENTITY_NOT_FOUND: &str = "com.microsoft:entity-not-found";
    pub(crate) const ERROR_CONDITION: &str = "error-condition";
    pub(crate) const EVENT_HUB_TYPE: &str = "com.microsoft:eventhub";
    pub(crate) const GEOREPLICATION_FACTOR: &str = "georeplication_factor";
    pub(crate) const NAME: &str = super::partition::NAME;
    pub(crate) const OPERATION: &str = super::cbs::OPERATION;
    pub(crate) const PARTITION: &str = super::partition::PARTITION;
    pub(crate) const PARTITION_COUNT: &str = "partition_count";
    pub(crate) const PARTITION_IDS: &str = "partition_ids";
    pub(crate) const PARTITION_TYPE: &str = "com.microsoft:partition";
    pub(crate) const READ: &str = "READ";
    pub(crate) const SECURITY_TOKEN: &str = "security_token";
    pub(crate) const STATUS_CODE: &str = super::cbs::STATUS_CODE;
    pub(crate) const STATUS_DESCRIPTION: &str = super::cbs::STATUS_DESCRIPTION;
    pub(crate) const TYPE: &str = super::cbs::TYPE;
}

/// What a redirected client is told. contract/eventhubs.md 7.
pub(crate) mod redirect {
    pub(crate) const ADDRESS: &str = "address";
    pub(crate) const HOST_NAME: &str = "hostname";
    pub(crate) const NETWORK_HOST: &str = "network-host";
    pub(crate) const PORT: &str = "port";
    pub(crate) const SCHEME: &str = "amqps";
}

/// Capabilities of links. contract/eventhubs.md 4.
pub(crate) mod capabilities {
    pub(crate) const RUNTIME_METRIC: &str = "com.microsoft:enable-receiver-runtime-metric";
}

/// Link properties. contract/amqp.md 3, contract/eventhubs.md 4.
pub(crate) mod link_properties {
    pub(crate) const API_VERSION: &str = "com.microsoft:api-version";
    pub(crate) const CLIENT_VERSION: &str = "com.microsoft:client-version";
    pub(crate) const EPOCH: &str = "com.microsoft:epoch";
    pub(crate) const MODEL_ID: &str = "com.microsoft:model-id";
}

/// CBS requests and replies. contract/amqp.md 2.
pub(crate) mod cbs {
    pub(crate) const NAME: &str = "name";
    pub(crate) const OPERATION: &str = "operation";
    pub(crate) const PUT_TOKEN: &str = "put-token";
    pub(crate) const STATUS_CODE: &str = "status-code";
    pub(crate) const STATUS_DESCRIPTION: &str = "status-description";
    pub(crate) const TYPE: &str = "type";
    /// The two types that are SAS tokens; others are Entra tokens.
    pub(crate) const SAS_TYPES: &[&str] = &["servicebus.windows.net:sastoken", "azure-devices.net:sastoken"];
}

/// Device-to-cloud messages. contract/amqp.md 4.1.
pub(crate) mod telemetry {
    pub(crate) const ACK: &str = "iothub-ack";
    pub(crate) const BATCH_FORMAT: u32 = 0x8001_3700;
    pub(crate) const COMPONENT: &str = "dt-subject";
    pub(crate) const CREATION_TIME: &str = "iothub-creation-time-utc";
    pub(crate) const DIAGNOSTIC_CONTEXT: &str = "Correlation-Context";
    pub(crate) const DIAGNOSTIC_ID: &str = "Diagnostic-Id";
    pub(crate) const INTERFACE_ID: &str = "iothub-interface-id";
    pub(crate) const MESSAGE_SCHEMA: &str = "iothub-message-schema";
    pub(crate) const OUTPUT_NAME: &str = "iothub-outputname";
    /// System values come from the link, whatever a client claims.
    pub(crate) const SENDER_CLAIMS: &[&str] = &["iothub-connection-device-id", "iothub-connection-module-id"];
}

/// Cloud-to-device messages. contract/amqp.md 4.2.
pub(crate) mod cloud_to_device {
    pub(crate) const ACK: &str = super::telemetry::ACK;
    pub(crate) const DELIVERY_COUNT: &str = "iothub-deliverycount";
    pub(crate) const ENQUEUED_TIME: &str = "iothub-enqueuedtime";
    pub(crate) const LOCK_TOKEN: &str = "x-opt-lock-token";
    pub(crate) const SEQUENCE_NUMBER: &str = "x-opt-sequence-number";
}

/// Feedback of cloud-to-device messages. contract/amqp.md 4.3.
pub(crate) mod feedback {
    pub(crate) const CONTENT_TYPE: &str = "application/vnd.microsoft.iothub.feedback.json";
    pub(crate) const ENQUEUED_TIME: &str = super::cloud_to_device::ENQUEUED_TIME;
}

/// Direct methods. contract/amqp.md 4.4.
pub(crate) mod methods {
    pub(crate) const NAME: &str = "IoThub-methodname";
    pub(crate) const STATUS: &str = "IoThub-status";
}

/// Twin requests, replies and notifications. contract/amqp.md 4.5.
pub(crate) mod twin {
    pub(crate) const DELETE: &str = "DELETE";
    pub(crate) const DESIRED: &str = "/properties/desired";
    pub(crate) const DESIRED_SUBSCRIPTION: &str = "/notifications/twin/properties/desired";
    pub(crate) const GET: &str = "GET";
    pub(crate) const OPERATION: &str = "operation";
    pub(crate) const PATCH: &str = "PATCH";
    pub(crate) const PUT: &str = "PUT";
    pub(crate) const REPORTED: &str = "/properties/reported";
    pub(crate) const RESOURCE: &str = "resource";
    pub(crate) const STATUS: &str = "status";
    pub(crate) const VERSION: &str = "version";
}

/// Error conditions. contract/amqp.md 5.
pub(crate) mod conditions {
    pub(crate) const ARGUMENT_ERROR: &str = "com.microsoft:argument-error";
    pub(crate) const CONNECTION_FORCED: &str = "amqp:connection:forced";
    pub(crate) const DECODE_ERROR: &str = "amqp:decode-error";
    pub(crate) const DETACH_FORCED: &str = "amqp:link:detach-forced";
    pub(crate) const DEVICE_CONTAINER_THROTTLED: &str = "com.microsoft:device-container-throttled";
    pub(crate) const DEVICE_ALREADY_EXISTS: &str = "com.microsoft:device-already-exists";
    pub(crate) const FRAMING_ERROR: &str = "amqp:connection:framing-error";
    pub(crate) const HANDLE_IN_USE: &str = "amqp:session:handle-in-use";
    pub(crate) const INTERNAL_ERROR: &str = "amqp:internal-error";
    pub(crate) const INVALID_FIELD: &str = "amqp:invalid-field";
    pub(crate) const MESSAGE_LOCK_LOST: &str = "com.microsoft:message-lock-lost";
    pub(crate) const MESSAGE_SIZE_EXCEEDED: &str = "amqp:link:message-size-exceeded";
    pub(crate) const REDIRECT: &str = "amqp:link:redirect";
    pub(crate) const NOT_ALLOWED: &str = "amqp:not-allowed";
    pub(crate) const NOT_FOUND: &str = "amqp:not-found";
    pub(crate) const PRECONDITION_FAILED: &str = "com.microsoft:precondition-failed";
    pub(crate) const RESOURCE_LIMIT_EXCEEDED: &str = "amqp:resource-limit-exceeded";
    pub(crate) const STOLEN: &str = "amqp:link:stolen";
    pub(crate) const TIMEOUT: &str = "com.microsoft:timeout";
    pub(crate) const TRACKING_ID: &str = "com.microsoft:tracking-id";
    pub(crate) const TRANSFER_LIMIT_EXCEEDED: &str = "amqp:link:transfer-limit-exceeded";
    pub(crate) const UNATTACHED_HANDLE: &str = "amqp:session:unattached-handle";
    pub(crate) const UNAUTHORIZED_ACCESS: &str = "amqp:unauthorized-access";
    pub(crate) const WINDOW_VIOLATION: &str = "amqp:session:window-violation";
}

/// The protocol names of the journal and the connection list.
pub(crate) mod labels {
    pub(crate) const AMQP: &str = "amqp";
    pub(crate) const AMQP_WEBSOCKET: &str = "amqp-ws";
}
