let next: Promise<void> | undefined;

/**
 * Resolves when all that has come for now is read. Calls that wait for it go to NATS by one write:
 * a write costs the gateway more than anything else of a short call.
 */
export function allIsRead(): Promise<void> {
  next ??= new Promise((resolve) => {
    setImmediate(() => {
      next = undefined;
      resolve();
    });
  });
  return next;
}
