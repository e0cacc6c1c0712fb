import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";

/** What a certificate is made with. */
export interface CertificateOptions {
  /** Who signs: a name that `ca()` made. Default: itself. */
  by?: string;
  /** Names it is for. Default: `IP:127.0.0.1,DNS:localhost`. */
  names?: string;
  /** Years between which it is valid. Default: 2020 and 2099. */
  valid?: [from: number, to: number];
}

/** Makes certificates in a folder, by openssl: `<name>.crt` and `<name>.key`. */
export class Certificates {
  constructor(readonly folder: string) {
    writeFileSync(join(folder, "index.txt"), "");
    writeFileSync(
      join(folder, "openssl.cnf"),
      `[req]
distinguished_name = name
[name]
[ca]
default_ca = own
[own]
database = index.txt
new_certs_dir = .
rand_serial = yes
unique_subject = no
default_md = sha256
policy = any
copy_extensions = copy
[any]
commonName = supplied
[authority]
basicConstraints = critical, CA:TRUE
`,
    );
  }

  /** Makes a CA. */
  ca(name: string): void {
    const more = ["-x509", "-days", "2", "-extensions", "authority", "-out", `${name}.crt`];
    this.request(name, more);
  }

  /** Makes a certificate and its key. */
  certificate(name: string, options: CertificateOptions = {}): void {
    const { by, names = "IP:127.0.0.1,DNS:localhost", valid = [2020, 2099] } = options;
    const extension = ["-addext", `subjectAltName=${names}`];
    if (by === undefined) {
      this.request(name, [...extension, "-x509", "-days", "2", "-out", `${name}.crt`]);
      return;
    }
    this.request(name, [...extension, "-out", `${name}.csr`]);
    const [from, to] = valid.map((year) => `${year}0101000000Z`) as [string, string];
    this.openssl(
      ["ca", "-batch", "-notext", "-config", "openssl.cnf", "-startdate", from, "-enddate", to]
        .concat(["-cert", `${by}.crt`, "-keyfile", `${by}.key`])
        .concat(["-in", `${name}.csr`, "-out", `${name}.crt`]),
    );
  }

  /** Path of a file. */
  path(name: string): string {
    return join(this.folder, name);
  }

  /** The `tls` block of a server that shows a certificate. */
  tls(name: string, more = ""): string {
    return `tls { cert_file: "${this.path(`${name}.crt`)}", key_file: "${this.path(`${name}.key`)}"${more} }\n`;
  }

  private request(name: string, more: string[]): void {
    this.openssl(
      ["req", "-config", "openssl.cnf", "-subj", `/CN=${name}`, "-nodes"]
        .concat(["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"])
        .concat(["-keyout", `${name}.key`, ...more]),
    );
  }

  private openssl(args: string[]): void {
    execFileSync("openssl", args, { cwd: this.folder, stdio: "pipe" });
  }
}
