//! Direct methods: a service calls, a connected device or module answers, and the caller waits for it
//! (contract/rest.md 1.9, contract/mqtt.md 8, contract/amqp.md 4.4; ARCHITECTURE section 4.3).
//!
//! `call` has the values, `pending` the table of an identity's calls that its lock guards, `invoke` the operations.

mod call;
mod invoke;
mod pending;

pub use call::{MethodCall, MethodName, MethodRequest, MethodRequestId, MethodResponse};
pub(crate) use pending::PendingCalls;
