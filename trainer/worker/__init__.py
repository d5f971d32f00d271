"""A worker: a Dask nanny and worker that hold one rank process, where the boosting library runs."""
