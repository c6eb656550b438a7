//! A bound on the rate of exchanges that are made for news.

/// Exchanges for news that may be made at once. One exchange carries all news, so a storm of
/// writes needs no more of them than a trickle.
pub const BURST_EXCHANGES: u32 = 32;

/// A token is added this often.
pub const EXCHANGE_EVERY_MS: u64 = 100;

/// A token bucket: each exchange takes a token, and tokens come at a fixed rate up to a burst.
pub struct TokenBucket {
    tokens: u32,
    /// When the last token was added.
    earning_since_ms: u64,
}

impl TokenBucket {
    /// A full bucket.
    pub fn new(now_ms: u64) -> Self {
        Self { tokens: BURST_EXCHANGES, earning_since_ms: now_ms }
    }

    /// Adds the tokens that have been earned; returns whether there is one to take.
    pub fn refill(&mut self, now_ms: u64) -> bool {
        let earned = now_ms.saturating_sub(self.earning_since_ms) / EXCHANGE_EVERY_MS;
        if earned >= u64::from(BURST_EXCHANGES - self.tokens) {
            self.tokens = BURST_EXCHANGES;
            self.earning_since_ms = now_ms;
        } else {
            self.tokens += earned as u32;
            self.earning_since_ms += earned * EXCHANGE_EVERY_MS;
        }
        self.tokens > 0
    }

    /// Whether there is no token to take.
    pub fn is_empty(&self) -> bool {
        self.tokens == 0
    }

    /// Takes a token, which there is after [`TokenBucket::refill`] has said so.
    pub fn take(&mut self) {
        self.tokens = self.tokens.saturating_sub(1);
    }

    /// When the next token is there.
    pub fn next_at_ms(&self) -> u64 {
        self.earning_since_ms + EXCHANGE_EVERY_MS
    }
}
