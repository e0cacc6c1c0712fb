import { errorText } from "./error-text.js";

/** Why something cannot be shown. */
export function Failure({ error }: { error: unknown }) {
  return error ? (
    <p role="alert" className="notice bad">
      {errorText(error)}
    </p>
  ) : null;
}
