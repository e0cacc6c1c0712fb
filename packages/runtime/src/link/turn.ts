type AfterTurn = (callback: () => void) => void;

/** The function of Node, where there is one. */
const { setImmediate } = globalThis as { setImmediate?: AfterTurn };

/**
 * Calls back when what is at hand is done: after pending promises, and after a
 * look at the sockets. Batches what a loop writes without making it wait.
 */
export const afterTurn: AfterTurn = setImmediate ?? channelTurn();

/** As soon as a browser can; its shortest timer takes 4 ms. */
function channelTurn(): AfterTurn {
  const { port1, port2 } = new MessageChannel();
  const callbacks: (() => void)[] = [];
  port1.addEventListener("message", () => callbacks.shift()?.());
  port1.start();
  return (callback) => {
    callbacks.push(callback);
    port2.postMessage(undefined);
  };
}
