//! The tokens that were good a moment ago. A service sends the same text with every request until it renews it, and
//! reading it and proving its signature is most of what judging it takes.
//!
//! Only what cannot change is remembered: what a text says, and which key signed it. Whether that is still a key of
//! the signer, whom the token reaches and until when is judged every time.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::sas_token::SasToken;

/// Tokens by their text. Prints none.
#[derive(Default)]
pub(crate) struct RecentTokens(Mutex<Generations>);

/// When the young generation is full it becomes the old one, whose tokens are forgotten unless they were used.
#[derive(Default)]
struct Generations {
    young: Generation,
    old: Generation,
}

type Generation = HashMap<Box<str>, Arc<SasToken>>;

impl RecentTokens {
    pub(crate) fn get(&self, text: &str) -> Option<Arc<SasToken>> {
        let mut generations = self.0.lock();
        if let Some(token) = generations.young.get(text) {
            return Some(Arc::clone(token));
        }
        let (text, token) = generations.old.remove_entry(text)?;
        generations.add(text, Arc::clone(&token));
        Some(token)
    }

    /// Remembers a token that was accepted: nobody without a key of the hub gets one in here.
    pub(crate) fn keep(&self, text: &str, token: Arc<SasToken>) {
        if text.len() <= TEXT_BYTES_MAX {
            self.0.lock().add(text.into(), token);
        }
    }
}

impl Generations {
    fn add(&mut self, text: Box<str>, token: Arc<SasToken>) {
        if self.young.len() >= GENERATION_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(text, token);
    }
}

impl std::fmt::Debug for RecentTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RecentTokens(***)")
    }
}

/// Ours: tokens of a generation, a few hundred bytes each.
const GENERATION_MAX: usize = 512;
/// Ours: every SDK's tokens are shorter unless ids are near their limit.
const TEXT_BYTES_MAX: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    fn text(n: usize) -> String {
        format!("SharedAccessSignature sr=h&sig=YQ%3D%3D&se={n}")
    }

    fn kept(tokens: &RecentTokens, n: usize) -> bool {
        tokens.get(&text(n)).is_some()
    }

    fn keep(tokens: &RecentTokens, text: &str) {
        tokens.keep(text, Arc::new(SasToken::parse(text).unwrap()));
    }

    #[test]
    fn a_token_in_use_stays_while_others_come_and_go() {
        let tokens = RecentTokens::default();
        for n in 0..5 * GENERATION_MAX {
            keep(&tokens, &text(n));
            assert!(kept(&tokens, 0), "after {n} others");
        }
        assert!(!kept(&tokens, 1), "nobody used it");
    }

    #[test]
    fn no_more_than_two_generations_are_kept() {
        let tokens = RecentTokens::default();
        (0..5 * GENERATION_MAX).for_each(|n| keep(&tokens, &text(n)));
        let generations = tokens.0.lock();
        assert!(generations.young.len() + generations.old.len() <= 2 * GENERATION_MAX);
    }

    #[test]
    fn a_text_is_kept_up_to_its_limit() {
        let tokens = RecentTokens::default();
        let longest = format!("{}&x={}", text(1), "x".repeat(TEXT_BYTES_MAX - text(1).len() - 3));
        assert_eq!(longest.len(), TEXT_BYTES_MAX);
        keep(&tokens, &longest);
        assert!(tokens.get(&longest).is_some());
        keep(&tokens, &format!("{longest}x"));
        assert!(tokens.get(&format!("{longest}x")).is_none());
    }
}
