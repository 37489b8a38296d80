"""Keeps the checkpoints of one program in a file. In production they lie in Azure Blob storage, in the store that
comes with the SDK; a program that is alone on its machine needs no more than this."""

import json
import os
import time

from azure.eventhub import CheckpointStore


class FileCheckpointStore(CheckpointStore):
    def __init__(self, file):
        self._file = file
        self._ownerships = {}

    def list_checkpoints(self, fully_qualified_namespace, eventhub_name, consumer_group, **kwargs):
        if not os.path.exists(self._file):
            return []
        with open(self._file, encoding="utf-8") as file:
            return json.load(file)

    def update_checkpoint(self, checkpoint, **kwargs):
        """Written beside and moved into place, so that a crash leaves the old checkpoints or the new ones."""
        others = [other for other in self.list_checkpoints(None, None, None)
                  if other["partition_id"] != checkpoint["partition_id"]]
        with open(f"{self._file}.new", "w", encoding="utf-8") as file:
            json.dump([*others, checkpoint], file)
        os.replace(f"{self._file}.new", self._file)

    def claim_ownership(self, ownership_list, **kwargs):
        """Nobody else claims a partition of this program."""
        claimed = [{**claim, "etag": "mine", "last_modified_time": time.time()} for claim in ownership_list]
        self._ownerships.update({claim["partition_id"]: claim for claim in claimed})
        return claimed

    def list_ownership(self, fully_qualified_namespace, eventhub_name, consumer_group, **kwargs):
        return list(self._ownerships.values())
