//! The rules that the source and the documents keep to.

mod architecture;

mod docs;
