"""The calls about flushes, persistent segments, compaction, and imports over gRPC (E.1)."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from pymilvus.grpc_gen import common_pb2, milvus_pb2, msg_pb2

from tests.doubles.calls import Call, Service
from tests.doubles.compacting import compact_l0
from tests.doubles.jobs import Request
from tests.doubles.schema import pairs
from tests.doubles.state import FLUSHED, FLUSHING, SEALED, Collection, Message, Segment

if TYPE_CHECKING:
    from collections.abc import Sequence

_STATES = {"Pending": 0, "Importing": 2, "Completed": 6}  # E.1: everything else shows as Failed


class Flushes(Service):
    """B.2 and B.3."""

    def Flush(self, request: Message, call: Call) -> Message:
        database = self.cluster.require_database(call.database(request))
        found = [self.cluster.require_collection(database, name) for name in request.collection_names]
        self.flushing.require_calm(found)
        reply = milvus_pb2.FlushResponse(db_name=database)
        for name, collection in zip(request.collection_names, found, strict=True):
            if self.rules.has("channel_cps"):  # read before sealing
                self._checkpoints(reply.channel_cps, collection)
            sealed, before = self.flushing.seal(collection)
            reply.coll_segIDs[name].data.extend(sealed)
            reply.flush_coll_segIDs[name].data.extend(before)
            reply.coll_seal_times[name] = int(time.time())
            reply.coll_flush_ts[name] = self.cluster.clock.next()
        return reply

    def _checkpoints(self, told: Message, collection: Collection) -> None:
        for vchannel in collection.vchannels:
            position = msg_pb2.MsgPosition(channel_name=vchannel, timestamp=self.cluster.clock.next())
            told[vchannel].CopyFrom(position)

    def GetFlushState(self, request: Message, call: Call) -> Message:
        database = call.database(request)
        collection = self.cluster.find_collection(database, request.collection_name)
        if not request.collection_name:
            owners = [
                each for each in self.cluster.collections.values() if set(request.segmentIDs) & set(each.segments)
            ]
            collection = owners[0] if owners else None
        flushed = self.flushing.is_flushed(collection, request.segmentIDs, request.flush_ts)
        return milvus_pb2.GetFlushStateResponse(flushed=flushed)

    def FlushAll(self, request: Message, call: Call) -> Message:
        found = [each for each in self.cluster.collections.values() if request.db_name in {"", each.database}]
        results: dict[str, list[Message]] = {}
        for collection in found:
            sealed, before = self.flushing.seal(collection)
            told = milvus_pb2.FlushCollectionResult(
                collection_name=collection.name, seal_time=int(time.time()), flush_ts=self.cluster.clock.next()
            )
            told.segment_ids.data.extend(sealed)
            told.flush_segment_ids.data.extend(before)
            results.setdefault(collection.database, []).append(told)
        reply = milvus_pb2.FlushAllResponse(flush_all_ts=self.cluster.clock.next())
        if self.rules.has("flush_targets"):
            for database, per_collection in results.items():
                reply.flush_results.add(db_name=database, collection_results=per_collection)
        if self.rules.has("flush_all_broadcast"):
            self._broadcast(reply, found)
        return reply

    @staticmethod
    def _broadcast(reply: Message, found: Sequence[Collection]) -> None:
        channels = sorted({each.pchannel(number) for each in found for number in range(each.shards)})
        reply.cluster_info.cluster_id = "by-dev"
        reply.cluster_info.pchannels.extend(channels)
        for channel in channels:
            reply.flush_all_msgs[channel].properties["_tt"] = str(reply.flush_all_ts)

    def GetFlushAllState(self, request: Message, call: Call) -> Message:
        ts = max(request.flush_all_tss.values(), default=request.flush_all_ts)
        found = [each for each in self.cluster.collections.values() if request.db_name in {"", each.database}]
        done = all(self.flushing.is_flushed(each, [], ts) for each in found)
        return milvus_pb2.GetFlushAllStateResponse(flushed=done)


class Segments(Service):
    """C.1 and C.4."""

    def GetPersistentSegmentInfo(self, request: Message, call: Call) -> Message:
        collection = self.cluster.require_collection(call.database(request), request.collectionName)
        reply = milvus_pb2.GetPersistentSegmentInfoResponse()
        for segment in list(collection.segments.values()):
            if segment.state in {SEALED, FLUSHING, FLUSHED}:
                reply.infos.append(self._info(collection, segment))
        return reply

    def _info(self, collection: Collection, segment: Segment) -> Message:
        info = milvus_pb2.PersistentSegmentInfo(
            segmentID=segment.id,
            collectionID=collection.id,
            partitionID=segment.partition_id,
            num_rows=segment.rows,
            state=segment.state,
        )
        if self.rules.has("tells_level"):
            info.level = segment.level
        if self.rules.has("tells_sorted"):
            info.is_sorted = segment.is_sorted
        if self.rules.has("tells_storage_version"):
            info.storage_version = segment.storage_version
        return info

    def GetQuerySegmentInfo(self, request: Message, call: Call) -> Message:
        collection = self.cluster.require_collection(call.database(request), request.collectionName)
        reply = milvus_pb2.GetQuerySegmentInfoResponse()
        for segment in collection.segments.values():
            if segment.partition_id in collection.loaded:
                reply.infos.add(
                    segmentID=segment.id,
                    collectionID=collection.id,
                    partitionID=segment.partition_id,
                    num_rows=segment.rows,
                    state=segment.state,
                )
        return reply

    def ManualCompaction(self, request: Message, call: Call) -> Message:
        """C.4: folds L0 deletes into delta logs where the version can."""
        collection = self.cluster.collection_by_id(request.collectionID)
        if collection is None:
            collection = self.cluster.require_collection(call.database(request), request.collection_name)
        if request.l0Compaction and self.rules.has("l0_compaction"):
            compact_l0(self.flushing, collection)
        return milvus_pb2.ManualCompactionResponse(compactionID=self.cluster.clock.next())

    def GetCompactionState(self, request: Message, call: Call) -> Message:
        return milvus_pb2.GetCompactionStateResponse(state=common_pb2.CompactionState.Value("Completed"))

    def GetCompactionStateWithPlans(self, request: Message, call: Call) -> Message:
        reply = milvus_pb2.GetCompactionPlansResponse(state=common_pb2.CompactionState.Value("Completed"))
        for collection_id, sources, target in self.cluster.compactions:
            reply.mergeInfos.add(sources=sources, target=target, collection_id=collection_id)
        return reply


class Imports(Service):
    """E.1: thin adapters over the jobs of REST."""

    def Import(self, request: Message, call: Call) -> Message:
        asked = Request(
            database=call.database(request),
            collection_name=request.collection_name,
            partition_name=request.partition_name,
            files=[list(request.files)] if request.files else [],
            options={pair.key: pair.value for pair in request.options},
        )
        job = self.jobs.create(asked, exists_in_s=self.cluster.settings.wal_delay_s)
        return milvus_pb2.ImportResponse(tasks=[job.id])

    def GetImportState(self, request: Message, call: Call) -> Message:
        job = self.jobs.get(request.task)
        rows = sum(entry.imported for entry in job.files)
        reply = milvus_pb2.GetImportStateResponse(
            state=_STATES.get(self.jobs.shown(job), 1), row_count=rows, id=job.id, collection_id=job.collection_id
        )
        told = [("collection", job.collection_name), ("progress_percent", str(job.progress))]
        reply.infos.extend(pairs([*told, ("failed_reason", job.reason)] if job.reason else told))
        return reply

    def ListImportTasks(self, request: Message, call: Call) -> Message:
        """It carries no usable job ids."""
        found = self.jobs.all(call.database(request), request.collection_name)
        reply = milvus_pb2.ListImportTasksResponse()
        for job in found[-request.limit :] if request.limit else found:
            task = reply.tasks.add(state=_STATES.get(self.jobs.shown(job), 1))
            task.infos.extend(pairs([("collection", job.collection_name), ("progress_percent", str(job.progress))]))
        return reply
