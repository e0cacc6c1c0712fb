import { useCall, useSubmit } from "@jetrpc/react";
import { connectGateway } from "@jetrpc/web";
import { useState } from "react";
import { createGreetClient } from "../gen/greet/v1/index.js";

// The page's own origin: Vite passes calls on to the gateway.
const greet = createGreetClient(connectGateway());

/** The id of the call that the address names. A reload shows that call again. */
const callInAddress = () => location.hash.slice(1) || undefined;

export function App() {
  const [name, setName] = useState("Ada");
  const [greeting, setGreeting] = useState("");
  const [callId, setCallId] = useState(callInAddress);
  const { submit, isSubmitting, error } = useSubmit(greet.letter);
  const letter = useCall(greet.letter, callId);
  const failure = error ?? letter.error;

  const hello = () =>
    greet.hello({ name }).then(
      (response) => setGreeting(response.greeting),
      (cause: unknown) => setGreeting(String(cause)),
    );

  const write = async () => {
    const call = await submit({ name });
    if (call) {
      location.hash = call.id;
      setCallId(call.id);
    }
  };

  return (
    <main>
      <h1>Greetings</h1>
      <label>
        Name <input value={name} onChange={(event) => setName(event.target.value)} />
      </label>
      <button type="button" onClick={hello}>
        Say hello
      </button>
      <button type="button" onClick={write} disabled={isSubmitting}>
        Write a letter
      </button>
      <p role="status">{greeting}</p>
      {callId !== undefined && (
        <section>
          <h2>Letter</h2>
          <p>
            {letter.state}{" "}
            <progress value={letter.progress?.done ?? 0} max={letter.progress?.total || 1} />
          </p>
          <p>{letter.result?.letter}</p>
        </section>
      )}
      {failure && <p role="alert">{failure.rawMessage}</p>}
    </main>
  );
}
