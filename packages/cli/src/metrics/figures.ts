/** JetStream's figures of a stream and of a consumer. */
export interface StreamFigures {
  readonly ts: string;
  readonly created: string;
  readonly state: {
    readonly messages: number;
    readonly first_seq: number;
    readonly first_ts: string;
    readonly last_seq: number;
  };
  /** How many subjects a filter matches. */
  readonly total?: number;
}

/** The same of a consumer. */
export interface ConsumerFigures {
  readonly ts: string;
  /** Undefined of one that no worker has made yet. */
  readonly created?: string;
  readonly num_pending: number;
  readonly num_ack_pending: number;
  readonly num_waiting: number;
  readonly delivered: { readonly consumer_seq: number; readonly stream_seq: number };
  readonly paused?: boolean;
}
