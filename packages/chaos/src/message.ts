/** A call that a client knows to be accepted, and what has to come of it. */
export type Accepted =
  | {
      readonly method: "Work";
      readonly callId: string;
      readonly value: number;
      /** True when it has to fail. */
      readonly fails: boolean;
    }
  | { readonly method: "Count"; readonly callId: string; readonly messages: number }
  | {
      readonly method: "Convert";
      readonly callId: string;
      /** Digest of the file that comes back. */
      readonly digest: string;
      readonly fails: boolean;
    };

/** A conversion that is submitted under a given call id: another process can go on with it. */
export interface Upload {
  readonly callId: string;
  readonly kind: number;
  readonly milliseconds: number;
  /** Of what the file holds. */
  readonly seed: number;
  /** Of the file, in bytes. */
  readonly size: number;
}

/** What a client process says of a call. */
export type Said =
  | { readonly accepted: Accepted }
  /** It has read the file that came back. */
  | { readonly read: Accepted }
  | { readonly wrong: string; readonly call: Accepted };

/** What a client process says. */
export type FromClient =
  | Said
  /** What it uploads from now on, or has uploaded. */
  | { readonly uploads: Upload; readonly isDone: boolean };
