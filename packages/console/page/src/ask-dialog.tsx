import { type ReactNode, useId, useState } from "react";
import { errorText } from "./error-text.js";
import { useModal } from "./use-modal.js";

/** Asks before something is done. It stays open while it is done, and says when that failed. */
export function AskDialog({
  title,
  children,
  act,
  isDangerous = false,
  isReady = true,
  isWide = false,
  onAct,
  onClose,
}: {
  title: string;
  children: ReactNode;
  /** What the button says. */
  act: string;
  isDangerous?: boolean;
  /** False while it is not known yet what would be done. */
  isReady?: boolean;
  isWide?: boolean;
  /** Resolves when it is done: the dialog closes then. */
  onAct: () => Promise<void>;
  onClose: () => void;
}) {
  const dialog = useModal();
  const heading = useId();
  const [isDoing, setDoing] = useState(false);
  const [failure, setFailure] = useState("");
  const submit = async () => {
    setDoing(true);
    setFailure("");
    try {
      await onAct();
      onClose();
    } catch (error) {
      setFailure(errorText(error));
      setDoing(false);
    }
  };
  return (
    <dialog
      ref={dialog}
      aria-labelledby={heading}
      onClose={onClose}
      className={isWide ? "wide" : ""}
    >
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void submit();
        }}
      >
        <h2 id={heading}>{title}</h2>
        <div className="dialog-body">{children}</div>
        {failure && (
          <p role="alert" className="notice bad">
            {failure}
          </p>
        )}
        <footer>
          <button type="button" onClick={onClose}>
            {isDoing ? "Close" : "Keep as it is"}
          </button>
          <button
            type="submit"
            className={isDangerous ? "danger" : "primary"}
            disabled={isDoing || !isReady}
            aria-busy={isDoing}
          >
            {act}
          </button>
        </footer>
      </form>
    </dialog>
  );
}
