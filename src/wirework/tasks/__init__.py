"""Tasks: prompt pairs with answer sets, the files they are written in, the shipped catalog."""

from wirework.tasks.catalog import TaskInfo as TaskInfo
from wirework.tasks.catalog import catalog_names as catalog_names
from wirework.tasks.catalog import list_tasks as list_tasks
from wirework.tasks.catalog import load_task as load_task
from wirework.tasks.catalog import read_task as read_task
from wirework.tasks.check import LEARNED_BAR as LEARNED_BAR
from wirework.tasks.check import LOCAL_BAR as LOCAL_BAR
from wirework.tasks.check import NextCounts as NextCounts
from wirework.tasks.check import check_file as check_file
from wirework.tasks.check import check_task as check_task
from wirework.tasks.check import local_loss as local_loss
from wirework.tasks.check import refuse_local as refuse_local
from wirework.tasks.check import refuse_local_headline as refuse_local_headline
from wirework.tasks.check import refuse_unequal as refuse_unequal
from wirework.tasks.complaint import Complaint as Complaint
from wirework.tasks.encode import NO_TOKEN as NO_TOKEN
from wirework.tasks.encode import EncodedTask as EncodedTask
from wirework.tasks.encode import Prompts as Prompts
from wirework.tasks.new_file import new_task_file as new_task_file
from wirework.tasks.origin import Origin as Origin
from wirework.tasks.origin import origin_of as origin_of
from wirework.tasks.pairs import SPLITS as SPLITS
from wirework.tasks.pairs import Answers as Answers
from wirework.tasks.pairs import Pair as Pair
from wirework.tasks.task import Task as Task
