// @ts-check
/** One event stream whose topics may change. */

const TOPICS = ['traces', 'spans', 'logs', 'metrics', 'alerts', 'status', 'pipeline'];

/** @param {(message: { kind: string, topic?: string, data?: any, state?: string }) => void} deliver @returns {(topics: string[]) => void} */
export function connection(deliver) {
  /** @type {EventSource | null} */
  let source = null;
  let current = '';

  /** @param {string[]} topics */
  return function change(topics) {
    const wanted = topics.join(',');
    if (wanted === current && source?.readyState !== EventSource.CLOSED) return;
    const isFirst = current === '';
    current = wanted;
    source?.close();
    source = null;
    if (!wanted) return;
    const opened = new EventSource(`/api/v1/stream?topics=${wanted}`);
    source = opened;
    let wasLost = !isFirst;
    opened.onopen = () => {
      deliver({ kind: 'state', state: 'open' });
      // What came between two connections is asked for again.
      if (wasLost) deliver({ kind: 'gap' });
      wasLost = false;
    };
    opened.onerror = () => {
      wasLost = true;
      deliver({ kind: 'state', state: 'lost' });
      if (opened.readyState === EventSource.CLOSED) {
        setTimeout(() => {
          if (source === opened) {
            source = null;
            const again = current;
            current = 'lost';
            change(again.split(','));
          }
        }, 1000);
      }
    };
    opened.addEventListener('gap', () => deliver({ kind: 'gap' }));
    for (const topic of TOPICS) {
      opened.addEventListener(topic, (event) => {
        try {
          deliver({ kind: 'event', topic, data: JSON.parse(/** @type {MessageEvent} */ (event).data) });
        } catch {
          deliver({ kind: 'gap' });
        }
      });
    }
  };
}
