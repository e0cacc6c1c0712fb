/** A call that a client knows to be accepted, and what has to come of it. */
export type Accepted =
  | {
      readonly method: "Work";
      readonly callId: string;
      readonly value: number;
      /** True when it has to fail. */
      readonly fails: boolean;
    }
  | { readonly method: "Count"; readonly callId: string; readonly messages: number };

/** What a client process says. */
export type FromClient = { readonly accepted: Accepted } | { readonly wrong: string };
