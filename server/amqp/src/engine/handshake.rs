//! How a connection begins: protocol header, SASL if the client wants it, and the open (contract/amqp.md 1.1, 1.2).

use std::time::Duration;

use super::frame::{Frame, FrameBody, next_frame};
use super::{Engine, Event, Phase, SaslRequest, Step};
use crate::names::{AMQP_HEADER, CONTAINER_ID, SASL_HEADER, SASL_MECHANISMS};

impl Engine {
    pub(super) fn on_protocol_header(&mut self) -> Step {
        let Some(header) = self.input.first_chunk::<8>().copied() else { return Step::MoreBytes };
        let _ = self.input.split_to(header.len());
        match (header, self.phase) {
            (AMQP_HEADER, _) => {
                self.output.protocol_header(&AMQP_HEADER);
                self.phase = Phase::Open;
                Step::Again
            }
            (SASL_HEADER, Phase::Header) => {
                self.output.protocol_header(&SASL_HEADER);
                self.output.sasl_mechanisms(SASL_MECHANISMS);
                self.phase = Phase::SaslInit;
                Step::Again
            }
            _ => {
                self.output.protocol_header(&AMQP_HEADER);
                self.phase = Phase::Done;
                Step::Event(Event::Failed(format!("unknown protocol header {header:02x?}")))
            }
        }
    }

    pub(super) fn on_sasl(&mut self) -> Step {
        match next_frame(&mut self.input) {
            Ok(Some(Frame::SaslInit(init))) => {
                self.phase = Phase::SaslOutcome;
                Step::Event(Event::Sasl(SaslRequest {
                    mechanism: init.mechanism.0,
                    response: init.initial_response.map(|bytes| bytes.into_vec()).unwrap_or_default(),
                    hostname: init.hostname,
                }))
            }
            Ok(None) => Step::MoreBytes,
            Ok(Some(Frame::Amqp { .. })) => self.fail_sasl("an AMQP frame before the SASL outcome"),
            Err(malformed) => self.fail_sasl(&malformed.0),
        }
    }

    fn fail_sasl(&mut self, text: &str) -> Step {
        self.sasl_outcome(false);
        Step::Event(Event::Failed(text.to_owned()))
    }

    /// Answers a [`SaslRequest`]; contract/amqp.md 1.1.
    pub(crate) fn sasl_outcome(&mut self, accepted: bool) {
        self.output.sasl_outcome(if accepted { 0 } else { 1 });
        self.phase = if accepted { Phase::HeaderAfterSasl } else { Phase::Done };
    }

    pub(super) fn on_open(&mut self) -> Step {
        let open = match next_frame(&mut self.input) {
            Ok(None) => return Step::MoreBytes,
            Ok(Some(Frame::Amqp { body: FrameBody::Empty, .. })) => return Step::Again,
            Ok(Some(Frame::Amqp { body: FrameBody::Open(open), .. })) => open,
            Ok(Some(_)) => return self.fail("the first frame must be an open"),
            Err(malformed) => return self.fail_malformed(&malformed),
        };
        self.output.set_peer_frame_bytes(open.max_frame_size.0);
        self.peer_idle_timeout = open
            .idle_time_out
            .filter(|millis| *millis > 0)
            .map(|millis| Duration::from_millis(millis.into()));
        self.output.open(CONTAINER_ID);
        self.phase = Phase::Established;
        Step::Event(Event::Opened(open.hostname))
    }
}
