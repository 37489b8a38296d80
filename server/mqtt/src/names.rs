//! Every literal of the MQTT wire, under the section of `contract/mqtt.md` that defines it. The one file to
//! compare with the contract; no topic, parameter or property name is spelled anywhere else in this crate.

/// `contract/mqtt.md 2.1`: what CONNECT says it speaks.
pub(crate) mod connect {
    /// Protocol name.
    pub(crate) const PROTOCOL: &str = "MQTT";
    /// Protocol level of 3.1.1.
    pub(crate) const LEVEL: u8 = 4;
}

/// `contract/mqtt.md 2.3`: parameters of the CONNECT username.
pub(crate) mod username {
    /// Contains no version we act on; required to be non-empty when it is there.
    pub(crate) const API_VERSION: &str = "api-version";
    /// The client's user agent.
    pub(crate) const DEVICE_CLIENT_TYPE: &str = "DeviceClientType";
    /// The IoT Plug and Play model the identity implements.
    pub(crate) const MODEL_ID: &str = "model-id";
    /// What a module of one old client ends its username with, instead of a parameter list.
    pub(crate) const PREVIEW_CLIENT_ENDING: &str =
        "/api-version=2017-06-30/DeviceClientType=Microsoft.Azure.Devices.Client/1.5.1-preview-003";
}

/// `contract/mqtt.md 4`: application properties this head adds to a message. (`2.8`'s mark of a Will is the core's.)
pub(crate) mod stamp {
    /// The PUBLISH had RETAIN set.
    pub(crate) const RETAIN: &str = "mqtt-retain";
    /// The PUBLISH had DUP set.
    pub(crate) const DUP: &str = "mqtt-dup";
    /// Value of [`RETAIN`] and [`DUP`].
    pub(crate) const TRUE: &str = "true";
}

/// `contract/mqtt.md 3`: filters, as the part of a topic that precedes the wildcard.
pub(crate) mod filter {
    /// Matches one level; accepted in place of the device id.
    pub(crate) const ANY_LEVEL: &str = "+";
    /// Matches all remaining levels.
    pub(crate) const ANY_REST: &str = "#";
    /// Cloud-to-device messages, after the identity.
    pub(crate) const DEVICE_BOUND: &str = "messages/devicebound/#";
    /// Messages from other modules, after the identity.
    pub(crate) const INPUTS: &str = "inputs/#";
    /// Direct methods: this, then `#` or a method's name and more.
    pub(crate) const METHODS: &str = super::method::REQUEST;
    /// Answers to twin requests.
    pub(crate) const TWIN_RESPONSES: &str = "$iothub/twin/res/#";
    /// Desired-property notifications.
    pub(crate) const DESIRED_PROPERTIES: &str = "$iothub/twin/PATCH/properties/desired/#";
}

/// `contract/mqtt.md 5.1`: the levels of telemetry topics.
pub(crate) mod telemetry {
    /// Precedes the device id.
    pub(crate) const DEVICES: &str = "devices/";
    /// Stands between device id and module id.
    pub(crate) const MODULES: &str = "modules/";
    /// Follows the identity; the property bag comes after it.
    pub(crate) const EVENTS: &str = "messages/events";
}

/// `contract/mqtt.md 5.2`: decoded keys of the property bag that are not application properties.
pub(crate) mod system {
    /// message-id
    pub(crate) const MESSAGE_ID: &str = "$.mid";
    /// correlation-id
    pub(crate) const CORRELATION_ID: &str = "$.cid";
    /// user-id
    pub(crate) const USER_ID: &str = "$.uid";
    /// to
    pub(crate) const TO: &str = "$.to";
    /// content-type
    pub(crate) const CONTENT_TYPE: &str = "$.ct";
    /// content-encoding
    pub(crate) const CONTENT_ENCODING: &str = "$.ce";
    /// iothub-creation-time-utc
    pub(crate) const CREATION_TIME: &str = "$.ctime";
    /// absolute-expiry-time
    pub(crate) const EXPIRY: &str = "$.exp";
    /// dt-subject
    pub(crate) const SUBJECT: &str = "$.sub";
    /// iothub-interface-id
    pub(crate) const INTERFACE_ID: &str = "$.ifid";
    pub(crate) const DIAGNOSTIC_CONTEXT: &str = "$.diagctx";
    pub(crate) const DIAGNOSTIC_ID: &str = "$.diagid";
    /// The module's output; means something to Edge Hub only.
    pub(crate) const OUTPUT_NAME: &str = "$.on";
    /// iothub-message-schema
    pub(crate) const SCHEMA: &str = "$.schema";
    /// Who a client says it is; never believed.
    pub(crate) const CONNECTION_DEVICE_ID: &str = "$.cdid";
    /// Which module a client says it is; never believed.
    pub(crate) const CONNECTION_MODULE_ID: &str = "$.cmid";
}

/// `contract/mqtt.md 6.2`: topics of cloud-to-device messages.
pub(crate) mod device_bound {
    /// Follows the device id; the property bag comes after it.
    pub(crate) const MESSAGES: &str = "/messages/devicebound/";
    /// Precedes the device id in the value of `$.to`.
    pub(crate) const TO_DEVICES: &str = "/devices/";
    /// Follows the device id in the value of `$.to`, with a capital B.
    pub(crate) const TO_MESSAGES: &str = "/messages/deviceBound";
    /// Which outcomes the sender wants to hear of. The one system property without a dollar.
    pub(crate) const ACKNOWLEDGEMENT: &str = "iothub-ack";
}

/// `contract/mqtt.md 7`: twin topics, up to the query that carries `$rid` and `$version`.
pub(crate) mod twin {
    /// The identity asks for its twin.
    pub(crate) const GET: &str = "$iothub/twin/GET/";
    /// The identity patches its reported properties.
    pub(crate) const PATCH_REPORTED: &str = "$iothub/twin/PATCH/properties/reported/";
    /// The hub answers; a status and `/` follow.
    pub(crate) const RESPONSE: &str = "$iothub/twin/res/";
    /// The hub tells of changed desired properties.
    pub(crate) const PATCH_DESIRED: &str = "$iothub/twin/PATCH/properties/desired/";
    /// The caller's id of a request, echoed in its answer. The dollar is literal.
    pub(crate) const REQUEST_ID: &str = "$rid";
    /// Version of a properties section. The dollar is literal.
    pub(crate) const VERSION: &str = "$version";
}

/// `contract/mqtt.md 8`: direct methods.
pub(crate) mod method {
    /// The hub calls a method; its name and `/?$rid=` follow.
    pub(crate) const REQUEST: &str = "$iothub/methods/POST/";
    /// The identity answers a method; a status and `/?$rid=` follow.
    pub(crate) const RESPONSE: &str = "$iothub/methods/res/";
}
