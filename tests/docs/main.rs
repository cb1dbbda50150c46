//! What the documentation shows is what the program does: every ```console block is run, every link leads somewhere,
//! every command has a page. `UPDATE_EXPECT=1` writes the blocks anew.

mod configuration;
mod console;
mod pages;
mod pipeline;
