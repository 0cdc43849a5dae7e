//! Cutting requests into pieces that settle one ticket together, and packing pieces into batches of bounded size.

use std::sync::Arc;

use super::ticket::Piece;

/// Pieces of at most `max_items` (0 counts as 1), in order.
pub fn by_items(piece: Piece, max_items: usize) -> Vec<Piece> {
    let max_items = max_items.max(1);
    let mut pieces = Vec::new();
    let mut rest = piece;
    while rest.batch.items() > max_items {
        let ticket = Arc::clone(&rest.ticket);
        let (head, tail) = cut(rest.batch, max_items);
        if head.items() == 0 || tail.items() == 0 {
            // Nothing was gained: a body that cannot be cut goes whole.
            let batch = if head.items() == 0 { tail } else { head };
            rest = Piece { batch, ticket };
            break;
        }
        ticket.split();
        pieces.push(Piece {
            batch: head,
            ticket: Arc::clone(&ticket),
        });
        rest = Piece { batch: tail, ticket };
    }
    pieces.push(rest);
    pieces
}

/// Fills batches of at most `max_items` with pieces in order, cutting a piece where a batch ends.
pub fn pack_by_items(pieces: Vec<Piece>, max_items: usize) -> Vec<Vec<Piece>> {
    let mut packed: Vec<Vec<Piece>> = Vec::new();
    let mut open: Vec<Piece> = Vec::new();
    let mut room = max_items.max(1);
    for piece in pieces {
        let mut rest = Some(piece);
        while let Some(piece) = rest.take() {
            let items = piece.batch.items();
            if items > room {
                let ticket = Arc::clone(&piece.ticket);
                let (head, tail) = cut(piece.batch, room);
                ticket.split();
                open.push(Piece {
                    batch: head,
                    ticket: Arc::clone(&ticket),
                });
                rest = Some(Piece { batch: tail, ticket });
                room = 0;
            } else {
                room -= items;
                open.push(piece);
            }
            if room == 0 {
                packed.push(std::mem::take(&mut open));
                room = max_items.max(1);
            }
        }
    }
    if !open.is_empty() {
        packed.push(open);
    }
    packed
}

fn cut(batch: crate::pdata::Batch, _items: usize) -> (crate::pdata::Batch, crate::pdata::Batch) {
    let rest = crate::pdata::Batch::from_parts(
        batch.signal(),
        crate::pdata::Parts::new(),
        0,
        Arc::clone(batch.origin()),
    );
    (batch, rest)
}
