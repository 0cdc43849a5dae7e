//! Cutting requests into pieces that settle one ticket together, and packing pieces into batches of bounded size.
//!
//! A body that cannot be cut (broken framing, which the door does not let through) goes whole: the far end judges it.

use std::sync::Arc;

use super::ticket::{Piece, Ticket};
use crate::component::Sizer;
use crate::pdata::Batch;

/// Pieces of at most `max` items or bytes, in order; one item that is larger stays whole.
pub fn by_size(piece: Piece, sizer: Sizer, max: u64) -> Vec<Piece> {
    let max = usize::try_from(max).unwrap_or(usize::MAX);
    let whole = piece.batch.clone();
    let cut = match sizer {
        Sizer::Bytes => piece.batch.split_by_bytes(max),
        Sizer::Items | Sizer::Requests => piece.batch.split_by_items(max),
    };
    let batches = cut
        .ok()
        .filter(|batches| !batches.is_empty())
        .unwrap_or_else(|| vec![whole]);
    share_ticket(batches, &piece.ticket)
}

/// Several batches in place of one that held `ticket`.
fn share_ticket(batches: Vec<Batch>, ticket: &Arc<Ticket>) -> Vec<Piece> {
    for _ in 1..batches.len() {
        ticket.split();
    }
    let piece = |batch| Piece {
        batch,
        ticket: Arc::clone(ticket),
    };
    batches.into_iter().map(piece).collect()
}

/// Fills batches of at most `max_items` (at least 1) with pieces in order, cutting a piece where a batch ends.
pub fn pack_by_items(pieces: Vec<Piece>, max_items: usize) -> Vec<Vec<Piece>> {
    let max_items = max_items.max(1);
    let mut packed: Vec<Vec<Piece>> = Vec::new();
    let mut open: Vec<Piece> = Vec::new();
    let mut room = max_items;
    for piece in pieces {
        for piece in cut_to_fit(piece, room, max_items) {
            let items = piece.batch.items();
            if items > room && !open.is_empty() {
                packed.push(std::mem::take(&mut open));
                room = max_items;
            }
            open.push(piece);
            room = room.saturating_sub(items);
            if room == 0 {
                packed.push(std::mem::take(&mut open));
                room = max_items;
            }
        }
    }
    if !open.is_empty() {
        packed.push(open);
    }
    packed
}

/// A first piece that fills `room`, then pieces of `max_items`.
fn cut_to_fit(piece: Piece, room: usize, max_items: usize) -> Vec<Piece> {
    if piece.batch.items() <= room {
        return vec![piece];
    }
    let whole = piece.batch.clone();
    let cut = piece.batch.split_at_items(room).and_then(|(head, tail)| {
        let mut batches = vec![head];
        if let Some(tail) = tail {
            batches.extend(tail.split_by_items(max_items)?);
        }
        Ok(batches)
    });
    share_ticket(cut.unwrap_or_else(|_| vec![whole]), &piece.ticket)
}
