//! Every number the service documents or this hub bounds itself with: one constant each, unit in the name,
//! source in the comment.

use std::time::Duration;

/// Characters of a device or module id. contract/rest.md 2.4.
pub const ID_CHARS: usize = 128;
/// Characters of `statusReason`. contract/rest.md 2.1.
pub const STATUS_REASON_CHARS: usize = 128;
/// Devices and modules of one hub. contract/rest.md 7.
pub const IDENTITIES: usize = 1_000_000;
/// The same in the free tier. contract/rest.md 7.
pub const IDENTITIES_FREE: usize = 500;
/// Modules of one device. contract/rest.md 1.4.
pub const MODULES_PER_DEVICE: usize = 50;
/// Characters of a module's `managedBy`; ours.
pub const MANAGED_BY_CHARS: usize = 128;
/// Devices of one page of an edge scope. contract/rest.md 1.15.
pub const EDGE_SCOPE_DEVICES: usize = 1000;
/// Modules after which such a page ends, with those of the device at hand; ours, so that a page stays small.
pub const EDGE_SCOPE_MODULES: usize = 1000;
/// Devices of an authentication chain: five edge devices and a leaf, the most edgeHub builds.
pub const AUTH_CHAIN_DEVICES: usize = 6;
/// Rows of one bulk request. contract/rest.md 1.3.
pub const BULK_ROWS: usize = 100;
/// Rows of one device list. contract/rest.md 1.2.
pub const LIST_ROWS: usize = 1000;

/// Bytes of a decoded symmetric key. contract/rest.md 2.5.
pub const KEY_BYTES_MIN: usize = 16;
/// Bytes of a decoded symmetric key. contract/rest.md 2.5.
pub const KEY_BYTES_MAX: usize = 64;
/// Bytes of a key the hub makes. contract/rest.md 2.5.
pub const KEY_BYTES_GENERATED: usize = 32;

/// Counted size of a twin's tags. contract/rest.md 3.4.
pub const TAGS_BYTES: usize = 8 * 1024;
/// Counted size of desired, and of reported properties. contract/rest.md 3.4.
pub const PROPERTIES_BYTES: usize = 32 * 1024;
/// Levels below a twin section. contract/rest.md 3.4.
pub const TWIN_DEPTH: usize = 10;
/// UTF-8 bytes of a twin key. contract/rest.md 3.4.
pub const TWIN_KEY_BYTES: usize = 1024;
/// UTF-8 bytes of a twin string value. contract/rest.md 3.4.
pub const TWIN_STRING_BYTES: usize = 4096;
/// Smallest integer a twin holds. contract/rest.md 3.4.
pub const TWIN_INTEGER_MIN: i64 = -4_503_599_627_370_496;
/// Largest integer a twin holds. contract/rest.md 3.4.
pub const TWIN_INTEGER_MAX: i64 = 4_503_599_627_370_495;
/// What a number counts for in a twin's size. contract/rest.md 3.4.
pub const TWIN_NUMBER_BYTES: usize = 8;
/// What a boolean counts for in a twin's size. contract/rest.md 3.4.
pub const TWIN_BOOLEAN_BYTES: usize = 4;

/// Bytes one section of a twin takes at rest; ours. The documented size counts nothing for empty strings, empty
/// arrays and control characters, so it alone bounds neither memory nor the work of a change.
pub const TWIN_SECTION_STORED_BYTES: usize = 128 * 1024;

/// Body and properties of one device-to-cloud message. contract/mqtt.md 5.3.
pub const TELEMETRY_BYTES: usize = 256 * 1024;
/// Messages of one device-to-cloud batch. PERFORMANCE section 9.
pub const TELEMETRY_BATCH_MESSAGES: usize = 500;

/// What an operation may exceed its rate by, at the rate: the service lets bursts pass for a minute or two before it
/// delays anybody.
pub const THROTTLE_BURST: Duration = Duration::from_secs(60);
/// The longest delay before a throttled operation is refused instead; ours, shorter than the patience of any SDK.
pub const THROTTLE_WAIT: Duration = Duration::from_secs(5);
/// Operations that may be delayed at once; ours.
pub const THROTTLE_WAITERS: usize = 10_000;
/// Bytes that count as one message of the daily quota, and as one payload of the method throttle. contract/rest.md 7.
pub const METERED_BYTES: usize = 4096;
/// Bytes that count as one message of the daily quota in the free tier. contract/rest.md 7.
pub const METERED_BYTES_FREE: usize = 512;

/// Partitions of the built-in event hub unless configured. contract/rest.md 7.
pub const PARTITIONS_DEFAULT: u8 = 4;
/// Partitions of the built-in event hub in the free tier unless configured. contract/eventhubs.md 7.
pub const PARTITIONS_FREE: u8 = 2;
/// Partitions of an event hub at least, where a user says how many. contract/eventhubs.md 6.
pub const PARTITIONS_MIN: u8 = 2;
/// Partitions of an event hub at most. contract/rest.md 7.
pub const PARTITIONS_MAX: u8 = 32;
/// Seconds an event is kept: one day, the service's default retention. contract/rest.md 7.
pub const EVENT_RETENTION_SECS: u64 = 24 * 60 * 60;
/// Bytes all partitions together may hold before the oldest events go; ours, so that memory stays bounded.
pub const EVENT_RETENTION_BYTES: usize = 256 * 1024 * 1024;
/// How long events past their retention may at most be left in memory; ours, so that a steady stream of them is taken
/// out in groups.
pub const EVENT_EXPIRY_PAUSE: Duration = Duration::from_secs(1);
/// Event hubs beside the built-in one; the custom endpoints a hub may have.
pub const EVENT_HUBS: usize = 10;
/// Consumer groups of one event hub; ours. The service stops at 20, test suites that make one for each run do not.
pub const CONSUMER_GROUPS: usize = 1000;
/// Readers without owner level of one partition in one consumer group. contract/eventhubs.md 4.2.
pub const READERS_WITHOUT_OWNER_LEVEL: usize = 5;

/// Endpoints besides the built-in one. contract/rest.md 7.
pub const ENDPOINTS: usize = 10;
/// The same in the free tier. contract/rest.md 7.
pub const ENDPOINTS_FREE: usize = 1;
/// Routes. contract/rest.md 7.
pub const ROUTES: usize = 100;
/// The same in the free tier. contract/rest.md 7.
pub const ROUTES_FREE: usize = 5;
/// Enrichments of all endpoints together. contract/rest.md 7.
pub const ENRICHMENTS: usize = 10;
/// The same in the free tier. contract/rest.md 7.
pub const ENRICHMENTS_FREE: usize = 2;
/// Characters of a route's name and of an enrichment's key; what the resource provider documents.
pub const ROUTING_NAME_CHARS: usize = 64;
/// Bytes of an enrichment's value; ours.
pub const ENRICHMENT_VALUE_BYTES: usize = 4096;

/// Characters of a method's name. contract/rest.md 1.9.
pub const METHOD_NAME_CHARS: usize = 100;
/// Bytes of a method's payload, and of its answer. contract/rest.md 1.9 and 7.
pub const METHOD_PAYLOAD_BYTES: usize = 128 * 1024;
/// Seconds a caller must at least give a device to answer a method. contract/rest.md 1.9.
pub const METHOD_RESPONSE_SECS_MIN: u64 = 5;
/// Seconds a caller may give a device to answer a method when it names none. contract/rest.md 1.9.
pub const METHOD_RESPONSE_SECS_DEFAULT: u64 = 30;
/// Seconds a caller may at most give a device to connect, and to answer. contract/rest.md 1.9.
pub const METHOD_TIMEOUT_SECS_MAX: u64 = 300;
/// How much earlier than it was told the hub gives up on a method: its caller hangs up when the time is over, and
/// is to hear why. contract/rest.md 1.9; the length is ours.
pub const METHOD_TIMEOUT_LEAD: Duration = Duration::from_millis(200);
/// Methods that may wait for one identity, to be delivered or answered; ours, the service documents none. Less than
/// [`MAILBOX_NOTIFICATIONS`], so that calls alone cannot make a session look slow.
pub const METHODS_IN_FLIGHT: usize = 100;

/// Notifications a session may leave unread before it is closed as too slow. ARCHITECTURE section 3.
pub const MAILBOX_NOTIFICATIONS: usize = 128;
/// Bytes of notifications a session may leave unread before it is closed as too slow; ours. One more never closes an
/// empty box. All of [`METHODS_IN_FLIGHT`] with the largest payloads fit.
pub const MAILBOX_BYTES: usize = 16 * 1024 * 1024;
/// Subscriptions kept for a CleanSession=0 session; ours. The service documents 5 and is lenient.
pub const SAVED_SUBSCRIPTIONS: usize = 50;
/// Operations the journal remembers; ours.
pub const JOURNAL_ENTRIES: usize = 4096;
/// Characters kept of a client's product info; ours.
pub const PRODUCT_INFO_CHARS: usize = 512;
/// Characters of a model id (DTMI); the DTDL v2 limit.
pub const MODEL_ID_CHARS: usize = 2048;
/// Certificate authorities one hub registers; what the service documents.
pub const CERTIFICATE_AUTHORITIES: usize = 25;

/// Body and properties of one cloud-to-device message. contract/mqtt.md 6.1.
pub const C2D_BYTES: usize = 64 * 1024;
/// Messages pending for one device. contract/mqtt.md 6.1.
pub const C2D_QUEUE_MESSAGES: usize = 50;
/// How often a message may be given back before it is dead-lettered. contract/amqp.md 4.2.
pub const C2D_DELIVERIES: u8 = 10;
/// How long a delivered message stays locked. contract/amqp.md 4.2.
pub const C2D_LOCK: Duration = Duration::from_secs(60);
/// How short a lock an HTTPS device may ask for; the service documents 5 s as the least.
pub const C2D_LOCK_MIN: Duration = Duration::from_secs(5);
/// How long an HTTPS device may ask a lock to last; the service documents 300 s as the most.
pub const C2D_LOCK_MAX: Duration = Duration::from_secs(300);
/// How long a message lives unless it says so itself; feedback lives as long. contract/mqtt.md 6.1.
pub const C2D_TTL_DEFAULT: Duration = Duration::from_secs(60 * 60);
/// How long a message may ask to live. contract/mqtt.md 6.1.
pub const C2D_TTL_MAX: Duration = Duration::from_secs(2 * 24 * 60 * 60);
/// Records of one feedback message. contract/amqp.md 4.3.
pub const FEEDBACK_BATCH_RECORDS: usize = 64;
/// Feedback messages locked or given back at a time; ours.
pub const FEEDBACK_BATCHES: usize = 1000;
/// Feedback records kept while nobody reads them; ours.
pub const FEEDBACK_RECORDS: usize = 50_000;
