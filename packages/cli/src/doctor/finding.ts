/** A finding of the doctor. */
export interface Finding {
  /** `note`: could not be looked at. */
  readonly level: "ok" | "note" | "warning" | "error";
  readonly title: string;
  /** The mend; absent when all is well. */
  readonly mend?: string;
}

export const ok = (title: string): Finding => ({ level: "ok", title });
export const note = (title: string, mend: string): Finding => ({ level: "note", title, mend });
export const warning = (title: string, mend: string): Finding => ({
  level: "warning",
  title,
  mend,
});
export const error = (title: string, mend: string): Finding => ({ level: "error", title, mend });
