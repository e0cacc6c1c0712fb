let mending: Promise<void> | undefined;

/**
 * Mends the NATS client, as of 3.4: it leaves a socket open when it gives up to connect to
 * a server that accepts connections and says nothing. One is left of each try, and keeps
 * the process alive. Where the client keeps its transport elsewhere, nothing is changed.
 */
export function discardGivenUp(): Promise<void> {
  mending ??= mend().catch(() => undefined);
  return mending;
}

type Transport = typeof import("@nats-io/transport-node/lib/node_transport.js");

async function mend(): Promise<void> {
  const loaded: Partial<Transport> & { readonly default?: Transport } = await import(
    "@nats-io/transport-node/lib/node_transport.js"
  );
  // A bundler may give a CommonJS module as its default export only.
  const prototype = (loaded.NodeTransport ?? loaded.default?.NodeTransport)?.prototype;
  if (prototype) {
    const { close } = prototype;
    prototype.close = function (error) {
      if (!this.connected) {
        this.discard();
      }
      return close.call(this, error);
    };
  }
}
