#![forbid(unsafe_code)]
//! Everything of Peerage that is asynchronous and names no runtime: the event loop, libp2p above the socket, HTTP,
//! WebSocket and gRPC, settings, files, the command line. A runtime supplies six things ([`runtime::Runtime`]); the
//! binaries are those plus a call of [`cli::main`].

pub mod cli;
pub mod data_dir;
pub mod fault;
pub mod heap;
pub mod http;
pub mod node;
pub mod p2p;
pub mod runtime;
pub mod settings;
