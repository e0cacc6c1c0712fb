let isActing = false;

/**
 * Has the command go on when nobody reads its output any more: `jetrpc dead discard --all | head`
 * is to discard all. Others end then.
 */
export function actToTheEnd(): void {
  isActing = true;
}

/** True for a command that changes something. */
export function actsToTheEnd(): boolean {
  return isActing;
}
