"""Every kind of step, by its name: what a saved run is read back with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from migrator.steps.clean_staging import CleanStaging
from migrator.steps.commit_imports import CommitImports
from migrator.steps.copy_segments import CopySegments
from migrator.steps.create_collection import CreateCollection
from migrator.steps.create_database import CreateDatabase
from migrator.steps.create_index import CreateIndex
from migrator.steps.create_snapshot import CreateSnapshot
from migrator.steps.drop_forwarded import DropForwarded
from migrator.steps.drop_snapshot import DropSnapshot
from migrator.steps.dump_meta import DumpMeta
from migrator.steps.flush import Flush
from migrator.steps.forward_segments import ForwardSegments
from migrator.steps.import_deletes import ImportDeletes
from migrator.steps.import_segments import ImportSegments
from migrator.steps.load_collection import LoadCollection
from migrator.steps.restore_rbac import RestoreRbac
from migrator.steps.restore_snapshot import RestoreSnapshot
from migrator.steps.resume_functions import ResumeFunctions
from migrator.steps.retire_predecessor import RetirePredecessor
from migrator.steps.seal_dump import SealDump
from migrator.steps.switch_alias import SwitchAlias
from migrator.steps.verify_collection import VerifyCollection

if TYPE_CHECKING:
    from migrator.steps.base import Step

STEP_KINDS: dict[str, type[Step]] = {
    Flush.kind: Flush,
    DumpMeta.kind: DumpMeta,
    CopySegments.kind: CopySegments,
    SealDump.kind: SealDump,
    CreateDatabase.kind: CreateDatabase,
    CreateCollection.kind: CreateCollection,
    ForwardSegments.kind: ForwardSegments,
    ImportSegments.kind: ImportSegments,
    CommitImports.kind: CommitImports,
    ImportDeletes.kind: ImportDeletes,
    ResumeFunctions.kind: ResumeFunctions,
    DropForwarded.kind: DropForwarded,
    CreateIndex.kind: CreateIndex,
    LoadCollection.kind: LoadCollection,
    VerifyCollection.kind: VerifyCollection,
    RetirePredecessor.kind: RetirePredecessor,
    SwitchAlias.kind: SwitchAlias,
    CleanStaging.kind: CleanStaging,
    RestoreRbac.kind: RestoreRbac,
    CreateSnapshot.kind: CreateSnapshot,
    RestoreSnapshot.kind: RestoreSnapshot,
    DropSnapshot.kind: DropSnapshot,
}
