'use strict';

// Keeps the checkpoints of one program in a file. In production they lie in Azure Blob storage, in the store that
// comes with the SDK; a program that is alone on its machine needs no more than this.

const fs = require('node:fs');

class FileCheckpointStore {
  #file;
  #ownerships = [];

  constructor(file) {
    this.#file = file;
  }

  async listCheckpoints() {
    return fs.existsSync(this.#file) ? JSON.parse(fs.readFileSync(this.#file, 'utf8')) : [];
  }

  // Written beside and moved into place, so that a crash leaves the old checkpoints or the new ones.
  async updateCheckpoint(checkpoint) {
    const others = (await this.listCheckpoints()).filter(({ partitionId }) => partitionId !== checkpoint.partitionId);
    fs.writeFileSync(`${this.#file}.new`, JSON.stringify([...others, checkpoint]));
    fs.renameSync(`${this.#file}.new`, this.#file);
  }

  // Nobody else claims a partition of this program.
  async claimOwnership(claims) {
    const claimed = claims.map((claim) => ({ ...claim, etag: 'mine', lastModifiedTimeInMs: Date.now() }));
    const isAnother = ({ partitionId }) => claims.every((claim) => claim.partitionId !== partitionId);
    this.#ownerships = [...this.#ownerships.filter(isAnother), ...claimed];
    return claimed;
  }

  async listOwnership() {
    return this.#ownerships;
  }
}

module.exports = { FileCheckpointStore };
