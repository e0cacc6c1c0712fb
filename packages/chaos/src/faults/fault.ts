import type { ServiceBinding } from "@jetrpc/runtime/schema";
import type { NatsServer } from "@jetrpc/testing";
import type { Member } from "../arena.js";
import type { Random } from "../random.js";

/** The calls that an administrator has removed, by `<Method>.<owner>.<session>.<id>`. */
export interface Removed {
  /** Calls of which a deleted log had something. */
  readonly logs: Set<string>;
  /** Calls whose dead letters were deleted. */
  readonly letters: Set<string>;
}

/** All that can be harmed. */
export interface Targets {
  readonly servers: readonly NatsServer[];
  readonly workers: readonly Member[];
  readonly clients: readonly Member[];
  readonly binding: ServiceBinding;
  /** The limit of the servers' store. */
  readonly storeMegabytes: number;
  /** A fault that removes something for good adds it here. */
  readonly removed: Removed;
}

/** A harm that is done, and undone when `run` resolves. */
export interface Fault {
  readonly name: string;
  /** True when it needs the servers for itself: one such fault runs at once. */
  readonly needsServers?: boolean;
  run(): Promise<void>;
}

/** Makes the faults of one sort. */
export type FaultSource = (random: Random, targets: Targets) => Fault[];
