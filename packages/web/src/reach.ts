/** Whether a gateway has ever answered at an address. */
export class Reach {
  /** True when something was sent there. */
  isTried = false;
  isReached = false;

  constructor(readonly url: string) {}

  /** True when nobody has answered so far. */
  get isInVain(): boolean {
    return this.isTried && !this.isReached;
  }
}
