import { useEffect, useState } from "react";
import { useConnectionLost } from "./connection-state.js";
import { failureText } from "./failure-text.js";
import { Library } from "./library.js";
import { logIn, type Session, users } from "./session.js";
import { readStored, store } from "./storage.js";

/** The user of this tab; other tabs may have another one. */
const userKey = "folio.user";
const tab = () => sessionStorage;

export function App() {
  const [user, setUser] = useState(() => readStored(tab, userKey) ?? "");
  const [session, setSession] = useState<Session>();
  const [failure, setFailure] = useState("");

  useEffect(() => {
    if (!user) {
      return;
    }
    let hasLeft = false;
    let opened: Session | undefined;
    logIn(user).then(
      (session) => {
        opened = session;
        if (hasLeft) {
          void session.connection.close();
        } else {
          setSession(session);
        }
      },
      (error) => {
        if (!hasLeft) {
          setFailure(failureText(error));
          // Chosen again, the same user is logged in anew.
          setUser("");
        }
      },
    );
    return () => {
      hasLeft = true;
      setSession(undefined);
      void opened?.connection.close();
    };
  }, [user]);

  const choose = (user: string) => {
    store(tab, userKey, user);
    setFailure("");
    setUser(user);
  };
  if (!user) {
    return <Login choose={choose} failure={failure} />;
  }
  if (!session) {
    return <p className="hint page">Opening your documents…</p>;
  }
  const leave = () => {
    location.hash = "/";
    choose("");
  };
  return (
    <>
      <Library key={user} session={session} leave={leave} />
      <ConnectionState />
    </>
  );
}

function ConnectionState() {
  return (
    <p className="connection" role="status">
      {useConnectionLost() && "The connection is lost. Reconnecting…"}
    </p>
  );
}

function Login({ choose, failure }: { choose: (user: string) => void; failure: string }) {
  return (
    <main className="login">
      <h1 className="brand">Folio</h1>
      <p className="hint">Your documents and their text, side by side.</p>
      {failure && <p role="alert">{failure}</p>}
      <h2>Who are you?</h2>
      <div className="users">
        {users.map(({ id, name }) => (
          <button type="button" key={id} onClick={() => choose(id)}>
            <span className="initial" aria-hidden="true">
              {name[0]}
            </span>
            {name}
          </button>
        ))}
      </div>
    </main>
  );
}
