//! Every literal the service's HTTP surface puts on the wire, under the contract section that defines it.
//! Nothing else in this crate spells a path, header or member name.

/// Route templates (contract/rest.md 1.1). Text is matched without regard to case, `{..}` stands for one
/// percent-encoded id.
pub(crate) mod path {
    /// Rows 4 and 5.
    pub(crate) const DEVICES: &str = "/devices";
    /// Rows 1 to 3.
    pub(crate) const DEVICE: &str = "/devices/{device}";
    /// Row 7.
    pub(crate) const MODULES: &str = "/devices/{device}/modules";
    /// Rows 8 to 10.
    pub(crate) const MODULE: &str = "/devices/{device}/modules/{module}";
    /// Row 6.
    pub(crate) const KEYS: &str = "/devices/keys/regenerate";
    /// Row 11.
    pub(crate) const DEVICE_STATISTICS: &str = "/statistics/devices";
    /// Row 12.
    pub(crate) const SERVICE_STATISTICS: &str = "/statistics/service";
    /// Row 13.
    pub(crate) const DEVICE_TWIN: &str = "/twins/{device}";
    /// Row 14.
    pub(crate) const MODULE_TWIN: &str = "/twins/{device}/modules/{module}";
    /// Row 16.
    pub(crate) const DEVICE_METHODS: &str = "/twins/{device}/methods";
    /// Row 17.
    pub(crate) const MODULE_METHODS: &str = "/twins/{device}/modules/{module}/methods";
    /// Row 29.
    pub(crate) const COMMANDS: &str = "/devices/{device}/commands";
    /// Rows 30 and 39.
    pub(crate) const DEVICE_BOUND: &str = "/devices/{device}/messages/deviceBound";
    /// Row 40.
    pub(crate) const DEVICE_BOUND_LOCK: &str = "/devices/{device}/messages/deviceBound/{lock}";
    /// Row 41.
    pub(crate) const DEVICE_BOUND_ABANDON: &str = "/devices/{device}/messages/deviceBound/{lock}/abandon";
    /// Row 31.
    pub(crate) const FEEDBACK: &str = "/messages/serviceBound/feedback";
    /// Row 32.
    pub(crate) const FEEDBACK_LOCK: &str = "/messages/serviceBound/feedback/{lock}";
    /// Row 33.
    pub(crate) const FEEDBACK_ABANDON: &str = "/messages/serviceBound/feedback/{lock}/abandon";
    /// Row 38.
    pub(crate) const DEVICE_EVENTS: &str = "/devices/{device}/messages/events";
    /// Beside row 38: Java builds it for modules (section 1.16).
    pub(crate) const MODULE_EVENTS: &str = "/devices/{device}/modules/{module}/messages/events";
    /// Row 44 and section 1.15: what an edge hub asks for, below the path of that module.
    pub(crate) const SCOPE: &str = "/devices/{device}/modules/{module}/devicesAndModulesInDeviceScope";
    pub(crate) const SCOPE_IDENTITY: &str = "/devices/{device}/modules/{module}/deviceAndModuleInDeviceScope";
    pub(crate) const TARGET_SCOPE: &str =
        "/devices/{device}/modules/{module}/devicesAndModulesInTargetDeviceScope";
    pub(crate) const TARGET_IDENTITY: &str =
        "/devices/{device}/modules/{module}/getDeviceAndModuleOnBehalfOf";
    pub(crate) const PUT_ON_BEHALF: &str = "/devices/{device}/modules/{module}/putModuleOnBehalfOf";
    pub(crate) const GET_ON_BEHALF: &str = "/devices/{device}/modules/{module}/getModuleOnBehalfOf";
    pub(crate) const LIST_ON_BEHALF: &str = "/devices/{device}/modules/{module}/getModulesOnTargetDevice";
    pub(crate) const DELETE_ON_BEHALF: &str = "/devices/{device}/modules/{module}/deleteModuleOnBehalfOf";
    /// Row 45.
    pub(crate) const WEBSOCKET: &str = "/$iothub/websocket";
    /// The same socket as Event Hubs clients ask for it (contract/eventhubs.md 1).
    pub(crate) const EVENT_HUBS_WEBSOCKET: &str = "/$servicebus/websocket";
    /// Row 15: it shares the shape of its path with rows of other verbs.
    pub(crate) const QUERY: &str = "/devices/query";

    /// The placeholder of a device id in the templates.
    pub(crate) const DEVICE_ID: &str = "device";
    /// The placeholder of a module id in the templates.
    pub(crate) const MODULE_ID: &str = "module";
    /// The placeholder of a lock token in the templates.
    pub(crate) const LOCK: &str = "lock";

    /// What requests are matched against before they are routed.
    pub(crate) const TEMPLATES: &[&str] = &[
        DEVICES,
        DEVICE,
        KEYS,
        MODULES,
        MODULE,
        DEVICE_STATISTICS,
        SERVICE_STATISTICS,
        DEVICE_TWIN,
        MODULE_TWIN,
        DEVICE_METHODS,
        MODULE_METHODS,
        COMMANDS,
        DEVICE_BOUND,
        DEVICE_BOUND_LOCK,
        DEVICE_BOUND_ABANDON,
        FEEDBACK,
        FEEDBACK_LOCK,
        FEEDBACK_ABANDON,
        DEVICE_EVENTS,
        MODULE_EVENTS,
        SCOPE,
        SCOPE_IDENTITY,
        TARGET_SCOPE,
        TARGET_IDENTITY,
        PUT_ON_BEHALF,
        GET_ON_BEHALF,
        LIST_ON_BEHALF,
        DELETE_ON_BEHALF,
        WEBSOCKET,
        EVENT_HUBS_WEBSOCKET,
    ];
}

/// The admin API: ours, PRODUCT section 5.
pub(crate) mod admin {
    pub(crate) const CA_PEM: &str = "/ca.pem";
    pub(crate) const CERTIFICATE: &str = "/admin/certificates/{name}";
    pub(crate) const CERTIFICATES: &str = "/admin/certificates";
    pub(crate) const CONNECTIONS: &str = "/admin/connections";
    pub(crate) const CONNECTION_STRINGS: &str = "/connection-strings";
    pub(crate) const CONSUMER_GROUP: &str = "/admin/event-hubs/{hub}/consumer-groups/{group}";
    pub(crate) const EVENT_HUB: &str = "hub";
    pub(crate) const EVENTS: &str = "/admin/events";
    pub(crate) const GROUP: &str = "group";
    pub(crate) const HEALTH: &str = "/health";
    pub(crate) const JOURNAL: &str = "/admin/journal";
    pub(crate) const NAME: &str = "name";
    pub(crate) const OPENAPI: &str = "/openapi.json";
    pub(crate) const READY: &str = "/ready";
    pub(crate) const ROUTING: &str = "/admin/routing";
    pub(crate) const SERVICE_OPENAPI: &str = "/service/openapi.json";
    pub(crate) const VERIFICATION_CODE: &str = "/admin/certificates/{name}/verification-code";
    pub(crate) const VERIFY: &str = "/admin/certificates/{name}/verify";
}

/// Members of `properties.routing`, as Azure Resource Manager has them.
pub(crate) mod routing {
    pub(crate) const CONDITION: &str = "condition";
    pub(crate) const ENDPOINT_NAMES: &str = "endpointNames";
    pub(crate) const ENDPOINTS: &str = "endpoints";
    pub(crate) const ENRICHMENTS: &str = "enrichments";
    pub(crate) const EVENT_HUBS: &str = "eventHubs";
    /// The name of the fallback route.
    pub(crate) const FALLBACK: &str = "$fallback";
    pub(crate) const FALLBACK_ROUTE: &str = "fallbackRoute";
    pub(crate) const IS_ENABLED: &str = "isEnabled";
    pub(crate) const KEY: &str = "key";
    pub(crate) const ROUTES: &str = "routes";
    pub(crate) const SOURCE: &str = "source";
    /// The condition that always holds.
    pub(crate) const TRUE: &str = "true";
    /// Kinds of endpoints that are not there yet.
    pub(crate) const UNSUPPORTED_ENDPOINTS: [&str; 4] =
        ["cosmosDBSqlContainers", "serviceBusQueues", "serviceBusTopics", "storageContainers"];
    pub(crate) const VALUE: &str = "value";
}

/// Query parameters (contract/rest.md 0.2, 1.2, 1.15, 1.16) and their values.
pub(crate) mod query {
    pub(crate) const API_VERSION: &str = "api-version";
    pub(crate) const TOP: &str = "top";
    pub(crate) const DEVICE: &str = "device";
    pub(crate) const EVENT_HUB: &str = "eventHub";
    pub(crate) const LIMIT: &str = "limit";
    pub(crate) const CONTINUATION_TOKEN: &str = "continuationToken";
    pub(crate) const DEVICE_COUNT: &str = "deviceCount";
    pub(crate) const TARGET_DEVICE: &str = "targetDeviceId";
    pub(crate) const TARGET_MODULE: &str = "targetModuleId";
    /// In the query (C#) or among the headers (Java).
    pub(crate) const LOCK_TIMEOUT: &str = "iothub-messagelocktimeout";
    pub(crate) const MODULE: &str = "module";
    /// Refuses a message for good, with any value or none.
    pub(crate) const REJECT: &str = "reject";
    /// What iot-device-client 2.5.0 of Java calls it: it starts its query twice.
    pub(crate) const REJECT_OF_JAVA: &str = "?reject";
}

/// Headers (contract/rest.md 0.3, 0.4), in the lower case HTTP libraries want.
pub(crate) mod header {
    use axum::http::HeaderName;

    /// Beside the result of a bulk call some of whose rows failed: C# reads the result only then, and looks it up
    /// by another name than [`ERROR_CODE`] (contract/rest.md 1.3).
    pub(crate) const BULK_ERROR_CODE: HeaderName = HeaderName::from_static("iothuberrorcode");
    pub(crate) const ERROR_CODE: HeaderName = HeaderName::from_static("iothub-errorcode");
    /// Set by browsers only.
    pub(crate) const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
    pub(crate) const METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");
    pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");
}

/// What messages carry beside their body, as headers and as members of a batch's `properties`, in lower case
/// (contract/rest.md 1.16).
pub(crate) mod message {
    pub(crate) const ACKNOWLEDGEMENT: &str = "iothub-ack";
    /// What comes before the name of an application property.
    pub(crate) const APPLICATION: &str = "iothub-app-";
    pub(crate) const CONTENT_ENCODING: &str = "iothub-contentencoding";
    pub(crate) const CONTENT_TYPE: &str = "iothub-contenttype";
    pub(crate) const CORRELATION_ID: &str = "iothub-correlationid";
    /// How C# writes it.
    pub(crate) const CREATION_TIME: &str = "iothub-creationtimeutc";
    /// How Java writes it.
    pub(crate) const CREATION_TIME_OF_JAVA: &str = "iothub-creation-time-utc";
    /// How rows of a batch write it.
    pub(crate) const CREATION_TIME_OF_BATCH: &str = "iothub-app-iothub-creation-time-utc";
    pub(crate) const DELIVERY_COUNT: &str = "iothub-deliverycount";
    pub(crate) const ENQUEUED_TIME: &str = "iothub-enqueuedtime";
    pub(crate) const EXPIRY: &str = "iothub-expiry";
    pub(crate) const INTERFACE_ID: &str = "iothub-interface-id";
    pub(crate) const MESSAGE_ID: &str = "iothub-messageid";
    pub(crate) const SCHEMA: &str = "iothub-messageschema";
    pub(crate) const SEQUENCE_NUMBER: &str = "iothub-sequencenumber";
    /// Node writes it without a prefix.
    pub(crate) const SUBJECT: &str = "dt-subject";
    pub(crate) const TO: &str = "iothub-to";
    pub(crate) const USER_ID: &str = "iothub-userid";

    /// The address of the messages for a device.
    pub(crate) fn to_device(device: &str) -> String {
        format!("/devices/{device}/messages/deviceBound")
    }
}

/// The name of the machine itself.
pub(crate) const LOCALHOST: &str = "localhost";

/// Header values, and the JSON of nothing.
pub(crate) mod value {
    use axum::http::HeaderValue;

    /// Node parses a body only under this type (contract/rest.md 0.4).
    pub(crate) const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
    pub(crate) const PEM: HeaderValue = HeaderValue::from_static("application/x-pem-file");
    pub(crate) const CHALLENGE: HeaderValue = HeaderValue::from_static("SharedAccessSignature");
    /// The body of a message is a batch of them (contract/rest.md 1.16).
    pub(crate) const BATCH: &str = "application/vnd.microsoft.iothub.json";
    pub(crate) const FEEDBACK: HeaderValue =
        HeaderValue::from_static("application/vnd.microsoft.iothub.feedback.json");
    pub(crate) const JSON_ESSENCE: &str = "application/json";
    pub(crate) const JSON_SUFFIX: &str = "+json";
    pub(crate) const CHARSET: &str = "charset";
    /// A payload that was not given.
    pub(crate) const NULL: &str = "null";
    pub(crate) const UTF_8: &str = "utf-8";
}

/// Members of request bodies (contract/rest.md 1.3, 1.6, 1.9, 1.15, 1.16, 2.1 to 2.3).
pub(crate) mod member {
    pub(crate) const AUTHENTICATION: &str = "authentication";
    pub(crate) const AUTH_CHAIN: &str = "authChain";
    pub(crate) const BASE64_ENCODED: &str = "base64Encoded";
    pub(crate) const BODY: &str = "body";
    pub(crate) const CAPABILITIES: &str = "capabilities";
    pub(crate) const CERTIFICATE: &str = "certificate";
    pub(crate) const CONNECT_TIMEOUT: &str = "connectTimeoutInSeconds";
    pub(crate) const CONTINUATION_LINK: &str = "continuationLink";
    pub(crate) const DEVICE_ID: &str = "deviceId";
    pub(crate) const DEVICE_SCOPE: &str = "deviceScope";
    pub(crate) const DEVICES: &str = "devices";
    /// How C# and the documentation write it in a bulk row.
    pub(crate) const ETAG: &str = "eTag";
    /// How Node and the explorer write it in a bulk row.
    pub(crate) const ETAG_OF_NODE: &str = "etag";
    pub(crate) const ID: &str = "id";
    pub(crate) const IMPORT_MODE: &str = "importMode";
    pub(crate) const IOT_EDGE: &str = "iotEdge";
    pub(crate) const MANAGED_BY: &str = "managedBy";
    pub(crate) const METHOD_NAME: &str = "methodName";
    pub(crate) const MODULE: &str = "module";
    pub(crate) const MODULE_ID: &str = "moduleId";
    pub(crate) const NAME: &str = "name";
    pub(crate) const PAGE_SIZE: &str = "pageSize";
    pub(crate) const PARENT_SCOPES: &str = "parentScopes";
    pub(crate) const PAYLOAD: &str = "payload";
    pub(crate) const POLICY_KEY: &str = "policyKey";
    pub(crate) const PRIMARY_KEY: &str = "primaryKey";
    pub(crate) const PRIMARY_THUMBPRINT: &str = "primaryThumbprint";
    pub(crate) const PROPERTIES: &str = "properties";
    pub(crate) const RESPONSE_TIMEOUT: &str = "responseTimeoutInSeconds";
    pub(crate) const SECONDARY_KEY: &str = "secondaryKey";
    pub(crate) const SECONDARY_THUMBPRINT: &str = "secondaryThumbprint";
    pub(crate) const STATUS: &str = "status";
    pub(crate) const STATUS_REASON: &str = "statusReason";
    pub(crate) const SYMMETRIC_KEY: &str = "symmetricKey";
    pub(crate) const TAGS: &str = "tags";
    pub(crate) const TARGET_DEVICE: &str = "targetDeviceId";
    pub(crate) const TARGET_MODULE: &str = "targetModuleId";
    pub(crate) const TIMEOUT: &str = "timeoutInSeconds";
    pub(crate) const TWIN_ETAG: &str = "twinETag";
    pub(crate) const TYPE: &str = "type";
    pub(crate) const VERIFIED: &str = "verified";
    pub(crate) const X509_THUMBPRINT: &str = "x509Thumbprint";
}

/// What opens the sections of a twin after the members before it (contract/rest.md 3.1).
pub(crate) mod section {
    pub(crate) const TAGS: &[u8] = b",\"tags\":";
    pub(crate) const DESIRED: &[u8] = b",\"properties\":{\"desired\":";
    pub(crate) const REPORTED: &[u8] = b",\"reported\":";
}

/// Values of enumerated members (contract/rest.md 1.3, 1.6, 2.1, 2.5).
pub(crate) mod term {
    pub(crate) const BOTH: &str = "both";
    pub(crate) const CERTIFICATE_AUTHORITY: &str = "certificateAuthority";
    pub(crate) const CONNECTED: &str = "Connected";
    pub(crate) const CREATE: &str = "create";
    pub(crate) const CREATE_OR_UPDATE: &str = "createOrUpdate";
    pub(crate) const CREATE_OR_UPDATE_IF_MATCH: &str = "createOrUpdateIfMatchETag";
    pub(crate) const DELETE: &str = "delete";
    pub(crate) const DELETE_IF_MATCH: &str = "deleteIfMatchETag";
    pub(crate) const DISABLED: &str = "disabled";
    pub(crate) const DISCONNECTED: &str = "Disconnected";
    pub(crate) const ENABLED: &str = "enabled";
    pub(crate) const NONE: &str = "none";
    pub(crate) const SAS: &str = "sas";
    pub(crate) const SELF_SIGNED: &str = "selfSigned";
    pub(crate) const UPDATE: &str = "update";
    pub(crate) const UPDATE_IF_MATCH: &str = "updateIfMatchETag";
    pub(crate) const UPDATE_TWIN: &str = "updateTwin";
    pub(crate) const UPDATE_TWIN_IF_MATCH: &str = "updateTwinIfMatchETag";
    /// An identity's stamp that was never set (contract/rest.md 0.6).
    pub(crate) const UNSET_IN_IDENTITY: &str = "0001-01-01T00:00:00";
    /// A twin's stamp that was never set (contract/rest.md 0.6).
    pub(crate) const UNSET_IN_TWIN: &str = "0001-01-01T00:00:00Z";
}
