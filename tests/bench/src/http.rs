//! A keep-alive HTTP client that reads any answer.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::wire::{Dialler, Wire};

pub(crate) struct Http(Wire);

/// An answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    pub(crate) fn json(&self) -> anyhow::Result<Value> {
        ensure!(self.status == 200, "{} {}", self.status, self.body);
        Ok(serde_json::from_str(&self.body)?)
    }
}

impl Http {
    pub(crate) async fn dial(dialler: &Dialler, address: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self(dialler.dial(address).await?))
    }

    /// To the admin port.
    pub(crate) async fn dial_plain(address: SocketAddr) -> anyhow::Result<Self> {
        Ok(Self(Wire::new(TcpStream::connect(address).await?)))
    }

    pub(crate) async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<Answer> {
        self.0.out.extend_from_slice(request);
        self.0.flush().await?;
        let end = loop {
            if let Some(end) = self.0.arrived().windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            ensure!(self.0.fill().await?, "the server closed the connection");
        };
        let head = String::from_utf8(self.0.arrived().get(..end).unwrap_or_default().to_vec())?;
        self.0.take(end + 4);
        let status = head.split(' ').nth(1).and_then(|text| text.parse().ok()).context("no status")?;
        let mut answer = Answer { status, head, body: String::new() };
        let length = answer.header("content-length").map(str::parse).transpose()?.unwrap_or(0);
        while self.0.arrived().len() < length {
            ensure!(self.0.fill().await?, "the answer broke off");
        }
        answer.body = String::from_utf8(self.0.arrived().get(..length).unwrap_or_default().to_vec())?;
        self.0.take(length);
        Ok(answer)
    }
}
