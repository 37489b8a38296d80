//! Reading what devices and modules have sent, and the hub's own events: the Event Hubs-compatible endpoint of an IoT
//! hub, or any event hub (contract/eventhubs.md).
//!
//! Reading order: [`EventHubConnectionString`] says where and as whom; [`EventHubClient`] opens [`EventReader`]s from
//! a [`StartPosition`]; what they bring is an [`Event`]; [`FileCheckpoints`] remember how far a program has come.
//!
//! ```no_run
//! # async fn example() -> Result<(), iothub_client::Error> {
//! use iothub_client::events::{EventHubClient, EventHubConnectionString, FileCheckpoints, StartPosition};
//!
//! let text = std::env::var("EVENT_HUB_CONNECTION_STRING").unwrap_or_default();
//! let client = EventHubClient::builder(EventHubConnectionString::parse(&text)?).consumer_group("dashboard").open().await?;
//! let mut checkpoints = FileCheckpoints::open("dashboard.json")?;
//! let mut reader = client.read_all(|partition| checkpoints.start(partition).unwrap_or(StartPosition::Earliest)).await?;
//! while let Some(event) = reader.next().await {
//!     let event = event?;
//!     println!("{:?} sent {:?}", event.device_id(), event.body);
//!     checkpoints.save(&event)?;
//! }
//! # Ok(()) }
//! ```

mod checkpoint;
mod client;
mod connection_string;
mod event;
mod position;
mod reader;

pub use self::checkpoint::FileCheckpoints;
pub use self::client::{EventHubClient, EventHubClientBuilder, EventHubTransport};
pub use self::connection_string::EventHubConnectionString;
pub use self::event::{Event, EventHubProperties, PartitionProperties};
pub use self::position::StartPosition;
pub use self::reader::EventReader;

pub(crate) use self::connection_string::EventHubCredential;
