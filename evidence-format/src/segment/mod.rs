//! PLACEHOLDER while the real one is being written
pub mod list;
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Record,
    Glue,
}
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    pub kind: Kind,
    pub len: u64,
}
pub const SNIFF_BYTES: usize = 4096;
pub struct Segmenter(u64);
impl Segmenter {
    pub fn sniff(_: &[u8]) -> Self {
        Self(0)
    }
    pub fn push(&mut self, b: &[u8], cut: &mut dyn FnMut(Kind, u64)) {
        for x in b {
            self.0 += 1;
            if *x == b'\n' {
                cut(Kind::Record, self.0);
                self.0 = 0;
            }
        }
    }
    pub fn settle(&mut self, _: &mut dyn FnMut(Kind, u64)) {}
    pub fn finish(self, cut: &mut dyn FnMut(Kind, u64)) {
        if self.0 > 0 {
            cut(Kind::Record, self.0)
        }
    }
}
