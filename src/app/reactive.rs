//! What changes on a page, in few types.
//!
//! A view is compiled for every type in it, and each closure has a type of its own: drawing it, hydrating it and
//! its effect were a kilobyte and a half of the browser's download for each. Boxed, all texts are one type, and
//! all flags.

/// A text that changes.
pub type Words = Box<dyn Fn() -> String + Send>;
/// A flag that changes.
pub type Flag = Box<dyn Fn() -> bool + Send>;

/// A text that changes.
pub fn words(text: impl Fn() -> String + Send + 'static) -> Words {
    Box::new(text)
}

/// A flag that changes.
pub fn flag(flag: impl Fn() -> bool + Send + 'static) -> Flag {
    Box::new(flag)
}
