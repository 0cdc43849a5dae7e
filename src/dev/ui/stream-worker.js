// @ts-check
/** The shared worker: one event stream for all tabs, with the topics that any of them wants. */

import { connection } from './stream-connection.js';

/** @type {Map<MessagePort, string[]>} */
const tabs = new Map();
let state = 'connecting';

const change = connection((message) => {
  if (message.kind === 'state') state = message.state ?? state;
  for (const [port, topics] of tabs) {
    if (message.kind !== 'event' || topics.includes(message.topic ?? '')) port.postMessage(message);
  }
});

/** @param {any} event */
globalThis.onconnect = (event) => {
  const port = event.ports[0];
  tabs.set(port, []);
  port.onmessage = (/** @type {MessageEvent} */ message) => {
    const topics = message.data.topics;
    if (topics === null) tabs.delete(port);
    else tabs.set(port, topics);
    change([...new Set([...tabs.values()].flat())].sort());
    port.postMessage({ kind: 'state', state });
  };
  port.start();
};
