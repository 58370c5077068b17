"A method of your own in thirty lines: copy this file, change the guide, and `ddnb contract my_method.py`"
import torch
from ddnb.contract import checked, job
from ddnb.generators.diffusion.guides import Guide
from ddnb.generators.sets import open_inputs, sampled_set
from ddnb.sets.manifest import run_shape

class Apart(Guide):
    "Clean latents of a class, each away from their mean"
    unit, start_at, stop_at = 'class', .1, .8
    def __init__(self, push): self.push = push

    def shift(self, step):
        away = torch.zeros_like(step.x0)
        for rows in step.classes().values(): away[rows] = step.x0[rows] - step.x0[rows].mean(0)
        return self.push*away

@checked
def distill(data, generator=None, ipc:int=10, seed:int=0, batch_size:int|None=None, out:str|None=None,
            progress:bool=True, push:float=.1, num_steps:int=50, device:str|None=None):
    "Images of a class, each away from the mean of all"
    data, gen = open_inputs(data, generator, device)
    batch_size = run_shape(batch_size, ipc*len(data.classes), out)
    sampling = dict(num_steps=num_steps, batch_size=batch_size)
    run = job('my_method', data, ipc, seed, sampling | dict(push=push), gen.describe())
    return sampled_set(run, data, gen, sampling, out, progress, lambda classes: Apart(push))
