'use strict';

// A tutorial app as a child process. What it prints is all a test knows of it: a test waits until an
// expected text is there, and fails with everything printed so far when it does not come.

const { spawn } = require('node:child_process');

// Longest wait for a line of an app. Start-up of Node with the SDK takes about a second; a machine busy
// with other builds needs several times that.
const PATIENCE_MS = 30_000;

class App {
  #child;
  #output = '';
  #read = 0;
  #watchers = new Set();
  #exit;

  // Starts `command` and ends it with the test `t` at the latest.
  constructor(t, command, args, env = {}) {
    this.#child = spawn(command, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream.setEncoding('utf8').on('data', (text) => {
        this.#output += text;
        this.#wake();
      });
    }
    this.#exit = new Promise((resolve, reject) => {
      this.#child.once('error', reject);
      this.#child.once('close', (code, signal) => resolve({ code: code ?? signal, output: this.#output }));
    });
    // A process that could not be started is reported by the wait that meets it.
    this.#exit.then(() => this.#wake(true), () => this.#wake(true));
    t.after(() => this.#child.kill('SIGKILL'));
  }

  // Waits until `expected` (a text or a regular expression) appears after what was waited for before, and
  // returns the match.
  printed(expected) {
    const pattern = typeof expected === 'string' ? literal(expected) : expected;
    return new Promise((resolve, reject) => {
      const look = (ended) => {
        const match = pattern.exec(this.#output.slice(this.#read));
        if (match) {
          this.#read += match.index + match[0].length;
          settle(resolve, match);
        } else if (ended) {
          settle(reject, new Error(`the app ended without printing ${pattern}; it printed:\n${this.#output}`));
        }
      };
      const deadline = setTimeout(
        () => settle(reject, new Error(`the app has not printed ${pattern}; it printed:\n${this.#output}`)),
        PATIENCE_MS,
      );
      const settle = (how, value) => {
        clearTimeout(deadline);
        this.#watchers.delete(look);
        how(value);
      };
      this.#watchers.add(look);
      look(this.#child.exitCode !== null && this.#child.stdout.readableEnded);
    });
  }

  // Waits until the app has ended by itself: its exit code and all it printed.
  ended() {
    return this.#exit;
  }

  // Ends the app as a user does, with Ctrl-C.
  interrupt() {
    this.#child.kill('SIGINT');
    return this.#exit;
  }

  // Ends the app without a chance to say anything.
  kill() {
    this.#child.kill('SIGKILL');
    return this.#exit;
  }

  #wake(ended = false) {
    for (const look of [...this.#watchers]) {
      look(ended);
    }
  }
}

function literal(text) {
  return new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
}

module.exports = { App };
