"""The one training loop: any step, on Lightning Fabric, resumable to the batch. Needs the extra ``train``."""
