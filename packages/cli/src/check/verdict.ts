/** Something that a deploy of the new schema would do. */
export interface Verdict {
  /** `error`: it breaks callers, or calls that are stored. `warning`: it breaks none of them now. */
  readonly level: "error" | "warning";
  /** `method-removed`, or `buf:FIELD_SAME_TYPE`. */
  readonly rule: string;
  readonly service?: string;
  readonly method?: string;
  /** How many stored calls it hits. */
  readonly calls?: number;
  /** Id of one of them. */
  readonly example?: string;
  readonly message: string;
}
