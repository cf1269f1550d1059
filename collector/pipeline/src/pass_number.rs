//! The numbers of passes. The same pass always gets the same number, however often it is scheduled.

/// Of one source in one incident: which request for evidence it answers, which part of its steps, which
/// continuation, which settle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PassNumber {
    /// From 0: the request at the declaration.
    pub(super) request: u32,
    /// From 0: a plan of more steps than a bundle has items makes several.
    part: u32,
    /// From 0: the pass itself.
    continuation: u32,
    /// From 1; 0 is the pass itself.
    settle: u32,
}

const SETTLES: u32 = 100;
const CONTINUATIONS: u32 = 100 * SETTLES;
const PARTS: u32 = 100 * CONTINUATIONS;

impl PassNumber {
    /// Reads a number.
    pub(super) fn of(pass: u32) -> Self {
        Self {
            request: pass / PARTS,
            part: pass % PARTS / CONTINUATIONS,
            continuation: pass % CONTINUATIONS / SETTLES,
            settle: pass % SETTLES,
        }
    }

    /// The first pass of an request; `None` if there were too many.
    pub(super) fn of_request(request: usize) -> Option<u32> {
        u32::try_from(request).ok()?.checked_mul(PARTS)
    }

    /// The number of part `part` of this pass's plan; `None` if there are too many.
    pub(super) fn part(self, part: u32) -> Option<u32> {
        Self { part, ..self }.pass()
    }

    /// The pass that goes on where this one's deadline came; `None` if it went on too often.
    pub(super) fn continuation(self) -> Option<u32> {
        Self {
            continuation: self.continuation + 1,
            ..self
        }
        .pass()
    }

    /// The settle pass `settle` of this one, from 1.
    pub(super) fn settle(self, settle: u32) -> Option<u32> {
        Self { settle, ..self }.pass()
    }

    fn pass(self) -> Option<u32> {
        let fits = self.part < 100 && self.continuation < 100 && self.settle < 100;
        let parts = self.request.checked_mul(PARTS)?;
        fits.then_some(
            parts + self.part * CONTINUATIONS + self.continuation * SETTLES + self.settle,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_never_meet() {
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
    }
}
