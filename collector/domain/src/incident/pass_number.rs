//! The numbers of passes. They follow from what a pass is, so scheduling it twice gives the same
//! number and adds no second pass.

/// The number of a pass among those of one source in one incident, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassNumber {
    /// The capture request that it answers, from 0: the one of the declaration.
    pub request: u32,
    /// From 0. A plan with more steps than a bundle may have items is split into parts.
    pub part: u32,
    /// From 1; 0 is the pass that may be continued.
    pub continuation: u32,
    /// From 1; 0 is the pass that is settled.
    pub settle: u32,
}

// In decimal, a number reads request, part, continuation, settle: 3_07_01_02.
const SETTLES: u32 = 100;
const CONTINUATIONS: u32 = 100 * SETTLES;
const PARTS: u32 = 100 * CONTINUATIONS;

/// Capture requests of one incident, so that the number of each pass fits a `u32`.
pub const REQUESTS_MAX: usize = (u32::MAX / PARTS) as usize;

impl PassNumber {
    #[must_use]
    pub fn of(pass: u32) -> Self {
        Self {
            request: pass / PARTS,
            part: pass % PARTS / CONTINUATIONS,
            continuation: pass % CONTINUATIONS / SETTLES,
            settle: pass % SETTLES,
        }
    }

    /// The first pass of a capture request; `None` if there were too many requests.
    #[must_use]
    pub fn of_request(request: usize) -> Option<u32> {
        let is_allowed = request < REQUESTS_MAX;
        is_allowed.then(|| request as u32 * PARTS)
    }

    /// The number of part `part` of this pass's plan; `None` if there are too many.
    #[must_use]
    pub fn part(self, part: u32) -> Option<u32> {
        Self { part, ..self }.pass()
    }

    /// The pass that resumes this one after its deadline; `None` if there are too many.
    #[must_use]
    pub fn continuation(self) -> Option<u32> {
        Self {
            continuation: self.continuation + 1,
            ..self
        }
        .pass()
    }

    /// The settle pass `settle` of this one, from 1.
    #[must_use]
    pub fn settle(self, settle: u32) -> Option<u32> {
        Self { settle, ..self }.pass()
    }

    /// The pass in words, for people: empty for the first pass of the first request, else such as
    /// `capture 2`, `settle 1` or `capture 2, part 2, continued`.
    #[must_use]
    pub fn label(self) -> String {
        let mut words = Vec::new();
        if self.request > 0 {
            words.push(format!("capture {}", u64::from(self.request) + 1));
        }
        if self.part > 0 {
            words.push(format!("part {}", self.part + 1));
        }
        match self.continuation {
            0 => {}
            1 => words.push("continued".to_owned()),
            times => words.push(format!("continued {times} times")),
        }
        if self.settle > 0 {
            words.push(format!("settle {}", self.settle));
        }
        words.join(", ")
    }

    fn pass(self) -> Option<u32> {
        let fits = self.part < 100 && self.continuation < 100 && self.settle < 100;
        fits.then(|| {
            self.request * PARTS
                + self.part * CONTINUATIONS
                + self.continuation * SETTLES
                + self.settle
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn label_says_what_a_pass_is_and_not_its_number() {
        let label = |pass| PassNumber::of(pass).label();
        assert_eq!(label(0), "");
        assert_eq!(label(1), "settle 1");
        assert_eq!(label(1_000_000), "capture 2");
        assert_eq!(label(3_070_102), "capture 4, part 8, continued, settle 2");
    }

    #[test]
    fn pass_number_reads_back_as_it_was_made() {
        let first = PassNumber::of(PassNumber::of_request(3).expect("few"));
        let part = PassNumber::of(first.part(7).expect("few"));
        let continuation = PassNumber::of(part.continuation().expect("few"));
        let settle = continuation.settle(2).expect("few");
        assert_eq!(settle, 3_070_102);
        assert_eq!(
            PassNumber::of(settle),
            PassNumber {
                request: 3,
                part: 7,
                continuation: 1,
                settle: 2
            }
        );
        assert_eq!(PassNumber::of(9900).continuation(), None);
        assert_eq!(first.part(100), None);
        assert_eq!(PassNumber::of_request(REQUESTS_MAX), None);
        let last = PassNumber {
            request: REQUESTS_MAX as u32 - 1,
            part: 99,
            continuation: 99,
            settle: 99,
        };
        assert_eq!(last.pass().map(PassNumber::of), Some(last), "it fits");
    }
}
