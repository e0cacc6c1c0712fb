/**
 * Whose turn it is, by index of the queue, the one with the highest priority first: of ten
 * calls seven are of high priority, two of normal and one of low, while each has some. So
 * none starves.
 */
const order = [0, 0, 0, 1, 0, 0, 2, 0, 1, 0] as const;

/** The facts about a queue that decide how much it is asked for. */
export interface Taker {
  /** Nothing was in it when it was last asked: one slot is enough to find out that this changed. */
  readonly isDry: boolean;
  /** It is not to be asked now. */
  readonly isLeftOut: boolean;
}

/** Gives out free slots to queues in turns. */
export class Turns {
  private next = 0;

  /** How many of the free slots each queue gets, by its index; 0 for all when none is to be asked. */
  share(free: number, queues: readonly Taker[]): number[] {
    const shares = queues.map(() => 0);
    for (let slot = 0; slot < free; slot++) {
      const turn = order[this.next++ % order.length] as number;
      const has = (index: number) => (shares[index] as number) > 0;
      const isOpen = ({ isDry, isLeftOut }: Taker, index: number) =>
        !isLeftOut && !(isDry && has(index));
      const first = queues[turn];
      let chosen = first && isOpen(first, turn) ? turn : -1;
      if (chosen < 0) {
        // To a queue that has some, before one that had none.
        chosen = queues.findIndex((queue, index) => isOpen(queue, index) && !queue.isDry);
      }
      if (chosen < 0) {
        chosen = queues.findIndex(isOpen);
      }
      if (chosen < 0) {
        break;
      }
      shares[chosen] = (shares[chosen] as number) + 1;
    }
    return shares;
  }
}
