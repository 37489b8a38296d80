//! A transcript as text and as its parts.

use std::fmt;

/// A whole file.
pub(crate) struct Script {
    pub(crate) parts: Vec<Part>,
}

pub(crate) enum Part {
    /// Lines that neither side said, blank ones included.
    Remark(String),
    Exchange(Exchange),
}

/// One request and its answer, line by line.
pub(crate) struct Exchange {
    pub(crate) request: Vec<String>,
    pub(crate) answer: Vec<String>,
}

impl Script {
    pub(crate) fn parse(text: &str) -> Self {
        let mut parts = Vec::new();
        for line in text.lines() {
            match (said(line, '>'), said(line, '<'), parts.last_mut()) {
                (Some(asked), _, Some(Part::Exchange(exchange))) if exchange.answer.is_empty() => {
                    exchange.request.push(asked);
                }
                (Some(asked), ..) => {
                    parts.push(Part::Exchange(Exchange { request: vec![asked], answer: Vec::new() }));
                }
                (None, Some(answered), Some(Part::Exchange(exchange))) => exchange.answer.push(answered),
                (None, Some(_), _) => panic!("an answer to nothing: {line}"),
                (None, None, _) => {
                    assert!(line.is_empty() || line.starts_with('#'), "neither side said: {line}");
                    parts.push(Part::Remark(line.to_owned()));
                }
            }
        }
        Self { parts }
    }
}

/// What stands after the mark of one side.
fn said(line: &str, mark: char) -> Option<String> {
    let rest = line.strip_prefix(mark)?;
    Some(rest.strip_prefix(' ').unwrap_or(rest).to_owned())
}

impl Exchange {
    /// The request as it goes over the wire, each line put right by `fill`, with what every client adds.
    pub(crate) fn on_the_wire(&self, fill: impl Fn(&str) -> String) -> String {
        let mut lines = self.request.iter().map(|line| fill(line));
        let head: Vec<_> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
        let body = lines.collect::<Vec<_>>().join("\n");
        let has = |name: &str| {
            head.iter()
                .any(|line| line.split_once(':').is_some_and(|(found, _)| found.eq_ignore_ascii_case(name)))
        };
        let (first, headers) = head.split_first().expect("a request has a first line");
        let mut request = format!("{first} HTTP/1.1\r\nConnection: close\r\n");
        if !has("host") {
            request.push_str("Host: localhost\r\n");
        }
        if !body.is_empty() && !has("content-length") {
            request.push_str(&format!("Content-Length: {}\r\n", body.len()));
        }
        headers.iter().for_each(|line| request.extend([line.as_str(), "\r\n"]));
        request + "\r\n" + &body
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in &self.parts {
            match part {
                Part::Remark(line) => writeln!(f, "{line}")?,
                Part::Exchange(exchange) => {
                    for line in &exchange.request {
                        writeln!(f, "{}", format!("> {line}").trim_end())?;
                    }
                    for line in &exchange.answer {
                        writeln!(f, "{}", format!("< {line}").trim_end())?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# A remark.\n\n> PUT /x\n> A: b\n>\n> {}\n< 200\n<\n< 1\n> GET /x\n< 404\n";

    #[test]
    fn a_script_reads_as_it_is_written() {
        let script = Script::parse(TEXT);
        assert_eq!(script.parts.len(), 4);
        assert_eq!(script.to_string(), TEXT);
    }

    #[test]
    fn a_request_goes_out_as_written_with_what_every_client_adds() {
        let script = Script::parse(TEXT);
        let requests: Vec<_> = script
            .parts
            .iter()
            .filter_map(|part| match part {
                Part::Exchange(exchange) => Some(exchange.on_the_wire(str::to_owned)),
                Part::Remark(_) => None,
            })
            .collect();
        let added = "Connection: close\r\nHost: localhost\r\n";
        assert_eq!(requests[0], format!("PUT /x HTTP/1.1\r\n{added}Content-Length: 2\r\nA: b\r\n\r\n{{}}"));
        assert_eq!(requests[1], format!("GET /x HTTP/1.1\r\n{added}\r\n"));
    }
}
